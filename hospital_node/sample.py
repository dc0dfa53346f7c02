"""A sample of a run's patients, opened for an auditor. See ``ledger.questions.sample``.

What leaves, in a file that staff hand over: the record numbers of the drawn patients, and what the
audit log says of them. It is for auditors whom the law lets see that, and stays between the two.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from hospital_node import audit_log, membership
from hospital_node.consents import open_vault
from ledger.questions import sample
from ledger.questions.sample import Answered
from twinward.errors import UsageError
from twinward.files import write_secret
from twinward.ids import is_hex32

_LEAST_SEED, _LONGEST_SEED = 8, 200


def draw(folder: Path, run: str, *, seed: str, count: int, out: Path, now: bool) -> int:
    """Write the sample to a new file, mode 0600; how many bytes. That it was made is entered first.

    Raises:
        UsageError: TW3752 no run or no seed; TW3750 the log names no patient of this run; TW1013
            the file is already there.
        LedgerError: TW3601, TW3610, the audit log cannot be written.
    """
    if not (is_hex32(run) and seed.isprintable() and _LEAST_SEED <= len(seed) <= _LONGEST_SEED):
        raise UsageError(
            "a sample needs a run and a seed",
            code="TW3752",
            note="a run is 64 hex digits; a seed has 8 to 200 signs",
            help="take the run from the model card; the seed is the auditor's, told only now",
        )
    founding = membership.load_founding(folder)
    audit_log.commanded(folder, "sample", about=(f"run:{run}",))
    vault = open_vault(folder)

    def answered(digest: bytes) -> Answered | None:
        kept = vault.by_digest(digest)
        return None if kept is None else Answered(kept.subject, kept.grade)

    with closing(vault.store), audit_log.opened(folder) as audit:
        data = sample.build(
            audit.log,
            founding=founding,
            run=run,
            seed=seed,
            count=count,
            answered=answered,
            anchored=not now,
        )
    write_secret(out, data)
    return len(data)
