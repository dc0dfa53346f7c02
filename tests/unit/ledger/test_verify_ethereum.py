"""The verifier's own Keccak-256, RLP and trie proofs against known answers and libraries."""

import os
import random

import pytest
import rlp
from eth_hash.auto import keccak
from trie import HexaryTrie

from ledger.verify import keccak256, rlp_decode, storage_value, trie_value


def test_known_answers_of_keccak_256():
    empty = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    abc = "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"
    assert keccak256(b"").hex() == empty
    assert keccak256(b"abc").hex() == abc


def test_keccak_agrees_with_the_library_at_every_block_boundary():
    for size in (1, 31, 32, 134, 135, 136, 137, 271, 272, 273, 500):
        data = os.urandom(size)
        assert keccak256(data) == keccak(data)


def test_rlp_reads_what_the_library_writes():
    for item in (b"", b"\0", b"\x7f", b"\x80", b"a" * 55, b"b" * 56, b"c" * 70_000, [],
                 [b"x", [b"y", [b"z" * 60]], b""], [b"q"] * 40):  # fmt: skip
        assert rlp_decode(rlp.encode(item)) == item


@pytest.mark.parametrize(
    "data",
    [
        "",
        "8100",
        "b800",
        "b90037" + "00" * 55,
        "c281",
        "83aabb",
        "8000",
        "f800",
        "b838",
        "c" + "1" * 9,
    ],
)
def test_rlp_that_is_not_the_shortest_or_is_cut_short_is_refused(data):
    with pytest.raises((ValueError, IndexError)):
        rlp_decode(bytes.fromhex(data))


def _trie(size: int) -> tuple[HexaryTrie, dict[bytes, bytes]]:
    trie, content = HexaryTrie({}), {}
    for index in range(size):
        key, value = b"key %d" % index, rlp.encode(b"v" * (1 + index % 40))
        trie[keccak(key)], content[key] = value, value
    return trie, content


@pytest.mark.parametrize("size", [1, 2, 17, 300])
def test_trie_proofs_of_presence_and_absence_hold(size):
    trie, content = _trie(size)
    for key in [*random.Random(size).sample(sorted(content), min(size, 20)), b"absent", b"none"]:
        proof = [rlp.encode(node) for node in trie.get_proof(keccak(key))]
        assert trie_value(trie.root_hash, key, proof) == content.get(key)


def test_an_empty_trie_holds_nothing():
    assert trie_value(HexaryTrie({}).root_hash, b"key", []) is None


def test_every_flipped_byte_of_a_trie_proof_is_noticed():
    trie, content = _trie(40)
    key = b"key 7"
    proof = [rlp.encode(node) for node in trie.get_proof(keccak(key))]
    for index, node in enumerate(proof):
        for at in range(len(node)):
            changed = bytearray(node)
            changed[at] ^= 1
            with pytest.raises((ValueError, IndexError, TypeError)):
                trie_value(
                    trie.root_hash, key, [*proof[:index], bytes(changed), *proof[index + 1 :]]
                )
    with pytest.raises(ValueError, match="lead"):
        trie_value(trie.root_hash, key, proof[:-1])
    assert trie_value(trie.root_hash, key, proof) == content[key]


def _storage_proof(value: int) -> tuple[bytes, bytes, bytes, dict]:
    slot, contract = (5).to_bytes(32, "big"), b"\x11" * 20
    storage, accounts = HexaryTrie({}), HexaryTrie({})
    storage[keccak(bytes(32))] = rlp.encode(b"\x01")
    if value:
        storage[keccak(slot)] = rlp.encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))
    accounts[keccak(contract)] = rlp.encode([b"\x01", b"", storage.root_hash, keccak(b"code")])
    accounts[keccak(b"\x22" * 20)] = rlp.encode(
        [b"", b"\x05", HexaryTrie({}).root_hash, keccak(b"")]
    )

    def spell(trie, key):
        return ["0x" + rlp.encode(node).hex() for node in trie.get_proof(keccak(key))]

    proof = {
        "accountProof": spell(accounts, contract),
        "storageProof": [{"key": hex(5), "value": hex(value), "proof": spell(storage, slot)}],
    }
    return accounts.root_hash, contract, slot, proof


@pytest.mark.parametrize("value", [0, 1, 255, 2**64, 2**255 + 1])
def test_a_storage_proof_gives_the_word(value):
    root, contract, slot, proof = _storage_proof(value)
    assert storage_value(root, contract, slot, proof) == value


def test_a_storage_proof_of_another_contract_or_state_is_refused():
    root, contract, slot, proof = _storage_proof(7)
    with pytest.raises(ValueError, match="lead"):
        storage_value(bytes(32), contract, slot, proof)
    with pytest.raises(ValueError, match=r"lead|no such"):
        storage_value(root, b"\x33" * 20, slot, proof)


def test_a_trie_of_the_ethereum_foundation_s_test_vectors():
    """`puppy` of ethereum/tests, TrieTests/trieanyorder_secureTrie.json: keys are hashed first."""
    root = bytes.fromhex("29b235a58c3c25ab83010c327d5932bcf05324b7d6b1185e650798034783ca9d")
    entries = {b"do": b"verb", b"horse": b"stallion", b"doge": b"coin", b"dog": b"puppy"}
    trie = HexaryTrie({})
    for key, value in entries.items():
        trie[keccak(key)] = value
    assert trie.root_hash == root
    for key in (*entries, b"cat", b"", b"do" * 40):
        proof = [rlp.encode(node) for node in trie.get_proof(keccak(key))]
        assert trie_value(root, key, proof) == entries.get(key)
        for place in range(len(proof)):
            bent = [*proof]
            bent[place] = bytes([bent[place][0], bent[place][1] ^ 1]) + bent[place][2:]
            with pytest.raises(ValueError, match="does not lead"):
                trie_value(root, key, bent)
