"""Known answers of others: Certificate Transparency's reference tree, Go's signed note."""

import base64

from ledger import verify
from ledger.log import tree

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
A = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
B = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
C = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
D = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
E = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
F = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
INCLUSION = {
    (0, 1): [],
    (0, 8): [A, B, C],
    (5, 8): ["bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b", E, ROOTS[4]],
    (2, 3): [ROOTS[2]],
    (1, 5): ["6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d", B, D],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [A, B, C],
    (6, 8): [F, E, ROOTS[4]],
    (2, 5): [B, D],
}


def grown():
    kept = []
    peaks = tree.Peaks(0, kept.__getitem__)
    for leaf in LEAVES:
        kept.extend(peaks.add(verify.leaf_hash(leaf)))
    return kept


def hexes(hashes):
    return [each.hex() for each in hashes]


def test_roots_of_the_reference_tree():
    kept = grown()
    for size, expected in enumerate(ROOTS):
        assert tree.root(kept.__getitem__, size).hex() == expected
        assert (
            verify.tree_root([verify.leaf_hash(leaf) for leaf in LEAVES[:size]]).hex() == expected
        )
    assert len(kept) == tree.places(len(LEAVES))


def test_inclusion_proofs_of_the_reference_tree():
    kept = grown()
    for (index, size), expected in INCLUSION.items():
        path = tree.inclusion(kept.__getitem__, index, size)
        assert hexes(path) == expected
        leaf = verify.leaf_hash(LEAVES[index])
        assert verify.root_from_inclusion(leaf, index, size, path).hex() == ROOTS[size]


def test_consistency_proofs_of_the_reference_tree():
    kept = grown()
    for (old, new), expected in CONSISTENCY.items():
        proof = tree.consistency(kept.__getitem__, old, new)
        assert hexes(proof) == expected
        roots = (bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new]))
        assert verify.is_consistent(old, roots[0], new, roots[1], proof)
        assert not verify.is_consistent(old, roots[0], new, bytes(32), proof)
        assert not verify.is_consistent(old, bytes(32), new, roots[1], proof)
        assert not verify.is_consistent(old, roots[0], new, roots[1], [*proof, bytes(32)])
        assert not proof or not verify.is_consistent(old, roots[0], new, roots[1], proof[:-1])


def test_the_signed_note_of_gos_documentation():
    key = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    data = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
        "\n"
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqf"
        "qdngotpRZb6KE6RyyBwJnAM=\n"
    ).encode()
    note = verify.Note.parse(data)
    assert key[:1] == b"\x01"
    assert verify.note_key_id("PeterNeumann", key[1:]).hex() == "c74f20a3"
    assert note.is_signed_by("PeterNeumann", key[1:])
    assert not note.is_signed_by("SomebodyElse", key[1:])
    assert not verify.Note(note.text + "!\n", note.signatures).is_signed_by("PeterNeumann", key[1:])
    assert note.encode() == data
