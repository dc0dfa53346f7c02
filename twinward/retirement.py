"""A released model that is taken out of use: what says so, and how it is found on the ledger.

Two digests stand there: the signed document, whose parent is the release, and a marker, whose
parent is the document. The marker follows from the run alone, so a hospital that knows in which
runs a patient was can ask for each whether its model is still in use, without any file.
"""

from __future__ import annotations

from typing import Final

from twinward import canonical
from twinward.signing import Document

KIND: Final = "twinward/retirement/v1"


def statement(*, run: bytes, release: bytes, study: str, reason: str, at: int) -> Document:
    """That the model of this run is not to be used any more, to be signed by the coordinator.

    Args:
        run: Name of the run.
        release: Digest of the release, as it stands on the ledger.
        study: Short name of its study.
        reason: For the hospitals, for patients and for auditors; never about one patient.
        at: Unix seconds.
    """
    return Document(
        KIND,
        {
            "run": run.hex(),
            "release": release.hex(),
            "study": study,
            "reason": reason,
            "retired_at": at,
        },
    )


def marker(run: bytes) -> bytes:
    """Under which digest the ledger shows that the model of this run is retired."""
    return canonical.tagged_hash("retired-run/v1", run)
