"""What the banner means: each check with its outcome."""

from __future__ import annotations

from collections.abc import Mapping

from ledger.explorer.view import View
from twinward.web.shell import Page
from twinward.web.table import Column, table


def verification(view: View, words: Mapping[str, str]) -> Page:
    """The checks behind the banner."""
    del words
    now = view.standing
    signed = (
        "none is here"
        if now.checkpoint is None
        else f"agrees: {now.checkpoint:,} events, root {now.root}"
    )
    if now.signed_block is None:
        blocks = "no pack here names a block of this copy"
    else:
        blocks = f"agree, the newest is block {now.signed_block:,}"
    checks = (
        (
            "Signed checkpoint",
            "All events, as one log computed here, are the log that the coordinator signed",
            signed,
        ),
        (
            "Witnesses",
            "Members who follow the ledger, compute the same log and co-signed that checkpoint",
            ", ".join(now.witnesses) or "none",
        ),
        (
            "Consents complete",
            "The running hash over all consents is in the ledger's state, by storage proof",
            f"proved at block {now.block:,}" if now.consents_proved else "not proved now",
        ),
        (
            "Signed blocks",
            "Blocks that the coordinator signed in evidence packs are the blocks shown here",
            blocks,
        ),
        (
            "Evidence packs",
            "Packs that lie here, each checked whole; one with a fault is left out",
            _packs(view),
        ),
        ("Contradictions", "Anything above that did not fit", now.fault or "none"),
        ("The ledger", "Whether its node answers", now.silence or "answers"),
    )
    return Page(
        "verification.html",
        "How far this is verified",
        "explorer.verification",
        {
            "checks": table(
                "Each check, what it means, and what came of it",
                (Column("check", "Check"), Column("means", "Means"), Column("outcome", "Outcome")),
                (dict(zip(("check", "means", "outcome"), each, strict=True)) for each in checks),
            )
        },
    )


def _packs(view: View) -> str:
    documents = view.papers.documents
    faults = (each.rpartition("/")[2] for each in documents.unusable)
    return "; ".join([f"{len(documents.packs)} without a fault", *faults])
