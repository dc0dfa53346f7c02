"""What a patient gets for a grant or a withdrawal: a document signed by the hospital.

A withdrawal's receipt states a deadline for the ledger. The receipt together with a proof that the
subject's slot is unchanged after the deadline is portable evidence of censorship.
"""

from __future__ import annotations

from typing import Final

from consent.kept import KeptGrant
from consent.withdrawals import KeptWithdrawal
from twinward.errors import ConsentError, IdentityError, UsageError
from twinward.ids import OrgName
from twinward.signing import Document, Identity, PublicIdentity

GRANT_KIND: Final = "twinward/grant-receipt/v1"
WITHDRAWAL_KIND: Final = "twinward/withdrawal-receipt/v1"


def grant_receipt(kept: KeptGrant, *, hospital: OrgName, identity: Identity) -> Document:
    """The hospital received this grant and will bring it to the ledger."""
    return Document(
        GRANT_KIND,
        {
            "hospital": hospital,
            "digest": kept.digest.hex(),
            "study": kept.study.hex(),
            "subject": kept.subject.hex(),
            "nonce": kept.grant.nonce,
            "grade": kept.grade,
            "terms": kept.grant.terms_shown.hex(),
            "expiry": kept.grant.expiry,
            "received_at": kept.received_at,
        },
    ).signed_by(identity)


def withdrawal_receipt(
    kept: KeptWithdrawal,
    *,
    hospital: OrgName,
    identity: Identity,
    excluded_from_step: int | None,
) -> Document:
    """The hospital stopped using the record; make it only when the withdrawal is on disk.

    ``excluded_from_step`` is the first step of the run under way whose cohort was not yet drawn;
    None when nothing was running: then no later step of any run contains the patient. ``nonce`` is
    null for a withdrawal without key, which ends whatever that key ever signs.
    """
    return Document(
        WITHDRAWAL_KIND,
        {
            "hospital": hospital,
            "digest": kept.digest.hex(),
            "study": kept.study.hex(),
            "subject": None if kept.subject is None else kept.subject.hex(),
            "nonce": None if kept.withdrawal is None else kept.withdrawal.nonce,
            "received_at": kept.received_at,
            "excluded_from_step": excluded_from_step,
            "on_chain_by": kept.on_chain_by,
        },
    ).signed_by(identity)


def step_of(receipt: bytes | None) -> int | None:
    """From which step of the run under way the patient was out; None if nothing ran."""
    if receipt is None:
        return None
    step = Document.decode(receipt, kind=WITHDRAWAL_KIND).payload["excluded_from_step"]
    return None if step is None else int(step)


def read_receipt(data: bytes, *, kind: str, hospital: PublicIdentity) -> Document:
    """Parse a receipt and require the hospital's signature.

    Raises:
        ConsentError: TW3030.
    """
    try:
        document = Document.decode(data, kind=kind, at="receipt")
        document.verify(hospital)
    except (UsageError, IdentityError) as error:
        raise ConsentError(
            "the hospital's receipt does not carry the hospital's signature",
            code="TW3030",
            help="ask again; if it happens twice, show the letter to the hospital's desk",
        ) from error
    return document
