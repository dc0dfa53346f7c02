"""A withdrawal that a hospital acknowledged and that never came to the ledger, as evidence.

The receipt names a deadline. A block that the coordinator signed as the newest after it, with a
proof that the permission still stands there, shows to anyone, offline, that somebody kept the
withdrawal away. Whom it convicts besides, nobody can tell from outside: see the notes of a verdict.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Protocol

from ledger import verify
from ledger.evidence import as_json
from ledger.proofs import header_rlp
from ledger.tip import TipStatement
from twinward import canonical
from twinward.errors import EvidenceError, UsageError
from twinward.signing import Document

RECEIPT_KIND = "twinward/withdrawal-receipt/v1"
_TAKEN_HOME = "twinward/consent-record/v1"


class Ledger(Protocol):
    """Whatever answers JSON-RPC: a node, or a copy of one."""

    def call(self, method: str, *params: Any) -> Any:
        """The result of one call."""
        ...


def receipt_in(data: bytes, *, at: str) -> bytes:
    """The signed receipt of a withdrawal in a file: by itself, or in what the patient took home.

    Raises:
        UsageError: TW3180, there is none.
    """
    try:
        canonical.require_shallow(data)
        value: Any = json.loads(data)
        if value.get("schema") == _TAKEN_HOME:
            value = value["receipts"]["withdrawal"]
        receipt = canonical.encode(value)
        Document.decode(receipt, kind=RECEIPT_KIND, at=at)
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError, UsageError) as error:
        raise UsageError(
            "there is no receipt of a withdrawal in this file",
            code="TW3180",
            at=at,
            help="give the receipt as the hospital signed it: `receipt.json` of the patients'"
            " site, or what `twinward consent receipt` writes",
        ) from error
    return receipt


def evidence(
    receipt: bytes, *, tips: Iterable[Document], rpc: Ledger, contract: str, founding: bytes
) -> bytes | None:
    """The archive that proves it; None if the ledger shows the withdrawal.

    Args:
        receipt: What the patient was given for the withdrawal.
        tips: Statements of the coordinator about its newest block, from a hospital or the explorer.
        rpc: Any node of this ledger, or a copy; nothing that it says is believed without proof.
        contract: Address of ``Consent``, 0x and hex.
        founding: The founding file's bytes.

    Raises:
        UsageError: TW8040 no receipt of a withdrawal by a key, TW8041 nothing was signed yet after
            the deadline.
        EvidenceError: TW8042, what was given does not verify as evidence.
        LedgerError: TW5001, TW5003.
    """
    document = Document.decode(receipt, kind=RECEIPT_KIND, at="receipt")
    try:
        study, subject = (bytes.fromhex(document.payload[name]) for name in ("study", "subject"))
        deadline = int(document.payload["on_chain_by"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            "this receipt is not about a permission that was on its way to the ledger",
            code="TW8040",
            help="take the receipt of a withdrawal, as the hospital gave it",
        ) from error
    for tip in sorted(tips, key=lambda tip: TipStatement.read(tip).time, reverse=True):
        statement = TipStatement.read(tip)
        block = rpc.call("eth_getBlockByHash", f"0x{statement.hash.hex()}", False)
        if statement.time <= deadline or block is None:
            continue
        slot = hex(verify.consent_slot(study, subject))
        record = {
            "receipt": as_json(document),
            "tip": as_json(tip),
            "header": f"0x{header_rlp(block).hex()}",
            "proof": rpc.call("eth_getProof", contract, [slot], hex(statement.number)),
        }
        return _verified(record, founding)
    raise UsageError(
        "no statement of the coordinator is newer than the receipt's deadline",
        code="TW8041",
        note=f"the withdrawal has to be on the ledger by {deadline}, Unix seconds",
        help="wait for the deadline, and fetch the statements again",
    )


def kept_away(archive: bytes, founding: bytes) -> verify.Report | None:
    """What such an archive proves, offline; None if the ledger shows the withdrawal.

    Raises:
        EvidenceError: TW8042, it proves nothing.
    """
    report = verify.verify_bytes(archive, founding=founding)
    if report.ok:
        return report
    fault = report.faults[0]
    if fault.code == "V126":
        return None
    raise EvidenceError(
        f"this proves nothing: {fault.message}",
        code="TW8042",
        note=fault.code,
        help="take receipt, statements and founding file of one network",
    )


def is_evidence(data: bytes) -> bool:
    """Whether a file is an archive of this kind; says nothing about what it proves."""
    try:
        return verify.CENSORED in verify.read_archive(data)[0]
    except verify.Broken:
        return False


def _verified(record: dict[str, object], founding: bytes) -> bytes | None:
    archive = verify.write_archive(
        {verify.CENSORED: canonical.encode(record), "founding.json": founding}
    )
    return None if kept_away(archive, founding) is None else archive
