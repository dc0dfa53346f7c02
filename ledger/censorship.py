"""A withdrawal that a hospital acknowledged and that never came to the ledger, as evidence.

The receipt names a deadline. A block that the coordinator signed as the newest after it, with a
proof that the permission still stands there, shows to anyone, offline, that somebody kept the
withdrawal away. Whom it convicts besides, nobody can tell from outside: see the notes of a verdict.
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger import verify
from ledger.evidence import as_json
from ledger.proofs import header_rlp
from ledger.rpc import Rpc
from ledger.tip import TipStatement
from twinward import canonical
from twinward.errors import EvidenceError, UsageError
from twinward.signing import Document

RECEIPT_KIND = "twinward/withdrawal-receipt/v1"


def evidence(
    receipt: bytes, *, tips: Iterable[Document], rpc: Rpc, contract: str, founding: bytes
) -> bytes | None:
    """The archive that proves it; None if the ledger shows the withdrawal.

    Args:
        receipt: What the patient was given for the withdrawal.
        tips: Statements of the coordinator about its newest block, from a hospital or the explorer.
        rpc: Any node of this ledger; nothing that it says is believed without proof.
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


def _verified(record: dict[str, object], founding: bytes) -> bytes | None:
    archive = verify.write_archive(
        {verify.CENSORED: canonical.encode(record), "founding.json": founding}
    )
    report = verify.verify_bytes(archive, founding=founding)
    if report.ok:
        return archive
    fault = report.faults[0]
    if fault.code == "V126":
        return None
    raise EvidenceError(
        f"this proves nothing: {fault.message}",
        code="TW8042",
        note=fault.code,
        help="take receipt, statements and founding file of one network",
    )
