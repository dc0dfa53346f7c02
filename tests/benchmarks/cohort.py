"""The mask of a step at a million patients: what it costs when little changed, against the limits.

    python tests/benchmarks/cohort.py --json

The limits of the same run: copying the mask (nothing can be cheaper once it changed) and deciding
on everyone anew (what a step would cost without the increments).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from consent import purposes, signature
from consent.policy import Grade
from consent.record import DAY, Grant
from consent.terms import terms
from tests.simulators.consent.world import DOMAIN, GENESIS, HOSPITAL, NOW, STUDY, Hospital
from twinward.ids import RecordNumber


def fill(hospital: Hospital, count: int) -> list[bytes]:
    """Grants of the first ``count`` patients, in the vault and on the ledger."""
    key = signature.new_key()
    shown = terms(STUDY, hospital=HOSPITAL).digest
    subjects = []
    hospital.ledger._mine()
    with hospital.vault.store.transaction() as database:
        for number in range(count):
            key = ((int.from_bytes(key) + 1) % 2**255).to_bytes(32)
            subject = signature.address_of(key)
            grant = Grant(
                network=GENESIS,
                study=STUDY.id32,
                subject=subject,
                purposes=purposes.bits(["heart-research"]),
                purpose_table=purposes.table_digest(),
                scope=STUDY.scope(HOSPITAL),
                terms_shown=shown,
                not_before=int(NOW) // DAY * DAY,
                expiry=(int(NOW) // DAY + 365) * DAY,
                nonce=0,
                submit_by=int(NOW) + DAY,
            )
            digest = grant.digest(DOMAIN)
            hospital.vault.keep(
                database,
                grant,
                digest=digest,
                signature=signature.sign(key, digest),
                code=b"",
                record=hospital.records[number],
                grade=Grade.DEVICE,
                received_at=int(NOW),
            )
            hospital.ledger._write(STUDY.id32, subject, grant.purposes, grant.expiry, 1, 1, digest)
            subjects.append(subject)
    return subjects


def timed(call, times: int) -> float:
    """Median seconds of a call."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=1_000_000)
    parser.add_argument("--granted", type=int, default=30_000)
    parser.add_argument("--changes", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        hospital = Hospital(Path(folder), patients=0)
        hospital.records = [RecordNumber(f"R{n}") for n in range(options.patients)]
        start = time.perf_counter()
        fill(hospital, options.granted)
        filled = time.perf_counter() - start
        # The mirror in memory lists changes by a scan; the real one has an index.
        hospital.ledger.changes = lambda after: []

        cohort = hospital.cohort()
        start = time.perf_counter()
        assert cohort.mask().sum() == options.granted
        whole = time.perf_counter() - start
        nothing = timed(cohort.mask, 200)
        left = iter(range(options.granted))

        def withdraw() -> None:
            for _ in range(options.changes):
                hospital.desk.withdraw_record(STUDY.id32, hospital.records[next(left)])

        changed = []
        for _ in range(10):
            withdraw()
            changed.append(timed(cohort.mask, 1))
        mask = cohort.mask()
        assert mask.sum() == options.granted - 10 * options.changes
        copy = timed(mask.copy, 50)
        receipt = timed(
            lambda: hospital.desk.withdraw_record(STUDY.id32, hospital.records[next(left)]), 50
        )
        hospital.vault.store.close()
    some = statistics.median(changed)
    result = {
        "patients": options.patients,
        "granted": options.granted,
        "mask_unchanged_us": round(nothing * 1e6, 1),
        f"mask_after_{options.changes}_withdrawals_us": round(some * 1e6, 1),
        "copy_of_the_mask_us": round(copy * 1e6, 1),
        "deciding_on_everyone_s": round(whole, 2),
        "deciding_on_everyone_us_per_grant": round(whole / options.granted * 1e6, 1),
        "withdrawal_to_receipt_ms": round(receipt * 1e3, 2),
        "fill_s": round(filled, 1),
        "ratio_to_copy": round(some / copy, 1),
        "ratio_to_everyone": round(some / whole, 6),
    }
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:40} {value}")


if __name__ == "__main__":
    main()
