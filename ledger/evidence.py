"""Evidence packs: putting the records of a run into the one file that anyone can verify.

The form of the archive and every rule on its content live in ``ledger.verify``, which travels
alone; this module only writes what that one reads. ``docs/evidence_pack.md`` describes the records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger import proofs, verify
from ledger.deployed import Addresses
from ledger.rpc import Rpc
from ledger.tip import TipStatement
from twinward import canonical
from twinward.errors import EvidenceError, LedgerError
from twinward.files import write_atomic
from twinward.signing import Document, Identity

KIND = "twinward/pack/v1"
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing to be proved of the ledger's state.

    ``name`` is ``reservation``, ``evaluation_reservation``, ``record`` or ``consent_head``;
    ``contract`` is the key under which the founding file has the address.
    """

    name: str
    contract: str
    slots: tuple[int, ...]
    org: str | None = None


def claims(*, run: bytes, release: bytes, hospitals: Mapping[str, str]) -> tuple[Claim, ...]:
    """What a pack proves: each hospital's reservation, the release, the head of all consents.

    Args:
        run: 32 bytes that name the run.
        release: Digest of the release document.
        hospitals: Ledger account (``0x`` and hex) of each hospital that sent a vector.
    """
    return (
        *_reservations("reservation", run=run, hospitals=hospitals),
        Claim("record", "provenance", (verify.record_slot(release),)),
        Claim("consent_head", "consent", (verify.CONSENT_HEAD_SLOT,)),
    )


def evaluation_claims(*, run: bytes, hospitals: Mapping[str, str]) -> tuple[Claim, ...]:
    """What a pack proves of an evaluation: the reservation of each hospital that took part.

    Args:
        run: 32 bytes that name the evaluation.
        hospitals: As for ``claims``.
    """
    return _reservations("evaluation_reservation", run=run, hospitals=hospitals)


def _reservations(name: str, *, run: bytes, hospitals: Mapping[str, str]) -> tuple[Claim, ...]:
    return tuple(
        Claim(
            name,
            "provenance",
            verify.reservation_slots(bytes.fromhex(account.removeprefix("0x")), run),
            org,
        )
        for org, account in sorted(hospitals.items())
    )


def ledger_record(
    rpc: Rpc,
    wanted: Sequence[Claim],
    *,
    contracts: Addresses,
    tip: Document,
    witnesses: Document | None = None,
) -> dict[str, Any]:
    """The content of ``ledger.json``: one signed block and proofs of all claims under it.

    Args:
        rpc: The ledger's node; nothing that it says is believed by the verifier without proof.
        wanted: From ``claims``.
        contracts: Where the contracts stand.
        tip: ``Tip.statement`` of a block after the release was recorded, signed by the coordinator.
        witnesses: The statement about the same block that hospitals co-signed, if any did.

    Raises:
        LedgerError: TW5001 no answer, TW5003 refused, TW8512 the node lacks the block, TW5041 its
            header is not the signed one.
    """
    statement = TipStatement.read(tip)
    block = rpc.call("eth_getBlockByHash", "0x" + statement.hash.hex(), False)
    if block is None:
        raise LedgerError(
            f"the ledger's node does not have the signed block {statement.number}",
            code="TW8512",
            help="release again once the node has caught up; nothing was made available",
        )
    header = proofs.header_rlp(block)
    proofs.open_header(header, expected_hash=statement.hash)
    addresses = contracts.to_json()
    signed: dict[str, Any] = {"tip": as_json(tip), "header": "0x" + header.hex()}
    if witnesses is not None and witnesses.signatures:
        signed["witnesses"] = as_json(witnesses)
    return {
        "blocks": [signed],
        "proofs": [
            {
                "claim": claim.name,
                "org": claim.org,
                "block": statement.number,
                "proof": rpc.call(
                    "eth_getProof",
                    addresses[claim.contract],
                    [hex(slot) for slot in claim.slots],
                    hex(statement.number),
                ),
            }
            for claim in wanted
        ],
    }


def as_json(document: Document) -> dict[str, Any]:
    """A signed document as a JSON value, for nesting in another record."""
    value: dict[str, Any] = canonical.decode(document.encode())
    return value


def encode_pack(
    records: Mapping[str, bytes], *, identity: Identity, run: bytes, plan_digest: bytes
) -> bytes:
    """The bytes of a pack: the records and a manifest of their hashes that the coordinator signs.

    The same records give the same bytes, always.

    Raises:
        EvidenceError: TW8510, a record has a name that a pack cannot hold, or the pack would be
            larger than the verifier reads.
    """
    manifest = Document(
        KIND,
        {
            "run": run.hex(),
            "plan": plan_digest.hex(),
            "records": {name: hashlib.sha256(data).hexdigest() for name, data in records.items()},
        },
    ).signed_by(identity)
    everything = {**records, MANIFEST: manifest.encode()}
    wrong = [name for name in everything if not verify.is_record_name(name)]
    size = sum(len(data) + 2 * len(name) + 200 for name, data in everything.items())
    if wrong or MANIFEST in records or size > verify.MAX_PACK_BYTES:
        raise EvidenceError(
            "these records do not fit into an evidence pack",
            code="TW8510",
            note=f"the name `{wrong[0]}`" if wrong else f"{size} bytes",
            help="use names of a-z 0-9 . _ - / and vectors for which a pack stays under 1 GiB",
        )
    return verify.write_archive(everything)


def build_pack(
    path: Path,
    records: Mapping[str, bytes],
    *,
    identity: Identity,
    run: bytes,
    plan_digest: bytes,
) -> verify.Report:
    """Write a pack, once it has passed the very check that every reader will make.

    Written to a temporary file, fsynced and renamed: a process that dies on the way leaves no pack
    or the whole pack.

    Raises:
        EvidenceError: TW8510 as above; TW8511, the pack would not verify and was not written.
    """
    data = encode_pack(records, identity=identity, run=run, plan_digest=plan_digest)
    report = verify.verify_bytes(data)
    if not report.ok:
        fault = report.faults[0]
        raise EvidenceError(
            f"the evidence of this run does not verify: {fault.message}",
            code="TW8511",
            at=fault.record,
            note=f"{fault.code}; nothing was written or made available",
            help="keep the transcript; the run cannot be released as it is",
        )
    write_atomic(path, data)
    return report
