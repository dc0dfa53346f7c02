"""Storage proofs: right ones open, and no altered one does."""

import copy

import httpx
import pytest
import rlp
from eth_hash.auto import keccak
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from trie import HexaryTrie

from ledger import proofs
from twinward.errors import LedgerError

ADDRESS = b"\xad" * 20


def sealed(storage, *, others=3):
    """A header, its hash and a way to prove slots of an account that holds this storage."""
    slots = HexaryTrie({})
    for slot, value in storage.items():
        slots[keccak(slot.to_bytes(32, "big"))] = rlp.encode(value)
    world = HexaryTrie({})
    for n in range(others):
        world[keccak(bytes([n]) * 20)] = rlp.encode([n, n, keccak(b""), keccak(b"")])
    world[keccak(ADDRESS)] = rlp.encode([1, 0, slots.root_hash, keccak(b"code")])
    header = rlp.encode([b"\0" * 32] * 3 + [world.root_hash] + [b"\0" * 32] * 4 + [7, 8, 9, 10])

    def prove(slot, address=ADDRESS):
        def nodes(trie, key):
            return [f"0x{rlp.encode(node).hex()}" for node in trie.get_proof(keccak(key))]

        return {
            "accountProof": nodes(world, address),
            "storageProof": [{"key": hex(slot), "proof": nodes(slots, slot.to_bytes(32, "big"))}],
        }

    return header, keccak(header), prove


STORAGE = st.dictionaries(
    st.integers(0, 2**256 - 1), st.integers(1, 2**256 - 1), min_size=1, max_size=12
)


@given(storage=STORAGE, absent=st.integers(0, 2**256 - 1))
def test_every_slot_opens_to_its_value_and_an_absent_one_to_zero(storage, absent):
    assume(absent not in storage)
    header, header_hash, prove = sealed(storage)
    for slot, value in [*storage.items(), (absent, 0)]:
        found = proofs.storage_value(
            header, expected_hash=header_hash, proof=prove(slot), address=ADDRESS, slot=slot
        )
        assert found == value


@given(storage=STORAGE, data=st.data())
def test_an_altered_node_never_opens(storage, data):
    header, header_hash, prove = sealed(storage)
    slot = data.draw(st.sampled_from(sorted(storage)))
    proof = prove(slot)
    nodes = data.draw(st.sampled_from([proof["accountProof"], proof["storageProof"][0]["proof"]]))
    which = data.draw(st.integers(0, len(nodes) - 1))
    node = bytearray.fromhex(nodes[which][2:])
    node[data.draw(st.integers(0, len(node) - 1))] ^= data.draw(st.integers(1, 255))
    nodes[which] = f"0x{node.hex()}"
    with pytest.raises(LedgerError) as refusal:
        proofs.storage_value(
            header, expected_hash=header_hash, proof=proof, address=ADDRESS, slot=slot
        )
    assert refusal.value.code == "TW5041"


@given(storage=STORAGE, data=st.data())
def test_a_missing_node_never_opens(storage, data):
    header, header_hash, prove = sealed(storage)
    slot = data.draw(st.sampled_from(sorted(storage)))
    proof = prove(slot)
    nodes = data.draw(st.sampled_from([proof["accountProof"], proof["storageProof"][0]["proof"]]))
    node = nodes.pop(data.draw(st.integers(0, len(nodes) - 1)))
    assume(len(node) // 2 - 1 >= 32)  # shorter nodes stand inside their parents as well
    with pytest.raises(LedgerError):
        proofs.storage_value(
            header, expected_hash=header_hash, proof=proof, address=ADDRESS, slot=slot
        )


@given(storage=STORAGE, position=st.integers(0, 10_000), change=st.integers(1, 255))
def test_an_altered_header_never_opens(storage, position, change):
    header, header_hash, prove = sealed(storage)
    altered = bytearray(header)
    altered[position % len(header)] ^= change
    slot = next(iter(storage))
    with pytest.raises(LedgerError):
        proofs.storage_value(
            bytes(altered), expected_hash=header_hash, proof=prove(slot), address=ADDRESS, slot=slot
        )


def test_a_proof_of_another_slot_is_refused():
    header, header_hash, prove = sealed({1: 11, 2: 22})
    with pytest.raises(LedgerError) as refusal:
        proofs.storage_value(
            header, expected_hash=header_hash, proof=prove(2), address=ADDRESS, slot=1
        )
    assert "another storage slot" in str(refusal.value)


@given(
    garbage=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["accountProof", "storageProof", "key", "proof"]), inner
            )
        ),
        max_leaves=8,
    )
)
def test_garbage_is_refused_and_never_crashes(garbage):
    header, header_hash, _ = sealed({1: 11})
    for proof in (garbage, {"accountProof": garbage, "storageProof": garbage}):
        with pytest.raises(LedgerError):
            proofs.storage_value(
                header, expected_hash=header_hash, proof=proof, address=ADDRESS, slot=1
            )
    with pytest.raises(LedgerError):
        proofs.open_header(b"\xc1\x80", expected_hash=keccak(b"\xc1\x80"))


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(number=st.integers(0, 3), slot=st.integers(0, 5))
def test_the_nodes_own_proofs_open_to_what_it_stores(node, network, number, slot):
    def ask(method, *params):
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return httpx.post(node.url, json=call).json()["result"]

    for address in (network.consent, b"\x12" * 20):
        block = ask("eth_getBlockByNumber", hex(number), False)
        header = proofs.header_rlp(block)
        assert f"0x{header.hex()}" == ask("debug_getRawHeader", hex(number))
        proof = ask("eth_getProof", f"0x{address.hex()}", [hex(slot)], hex(number))
        found = proofs.storage_value(
            header,
            expected_hash=bytes.fromhex(block["hash"][2:]),
            proof=proof,
            address=address,
            slot=slot,
        )
        stored = ask("eth_getStorageAt", f"0x{address.hex()}", hex(slot), hex(number))
        assert found == int(stored, 16)
        changed = copy.deepcopy(proof)
        changed["storageProof"][0]["value"] = "0x7"  # a stated value means nothing
        assert found == proofs.storage_value(
            header,
            expected_hash=bytes.fromhex(block["hash"][2:]),
            proof=changed,
            address=address,
            slot=slot,
        )
