"""A hospital of a million patients with three million consents: cohort, pages, onboarding.

    python -m tests.benchmarks.consent_scale [--patients 1000000] [--folder KEPT] [--json]
    python -m tests.benchmarks.consent_scale --patients 20000 --first --postgresql

Each patient answered three studies. The grants of the study that is asked about carry real
signatures and stand in a real mirror file; those of the other two fill the tables. Making them is
not timed, and ``--folder`` keeps them for the next run. Limits of the same run: hashing the bytes
of the snapshot (a cold cohort has to read them at least) and one signature check per patient
(what a cold cohort costs that believes nothing). A page is the site's whole answer, which asks the
hospital's desk over TLS. With ``--postgresql`` all of it comes again over a server of its own on
this machine, on a Unix socket, and the ratios of the two stand beside.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from consent import purposes, signature
from consent.kept import State
from consent.policy import Grade
from consent.portal.codes import spelled
from consent.portal.running import running
from consent.record import DAY, Grant
from consent.register import Register
from consent.terms import terms
from ledger.mirror import Mirror
from tests.simulators import postgres
from tests.simulators.consent import world
from tests.simulators.consent.desk import RunningDesk
from tests.simulators.consent.world import DOMAIN, GENESIS, HOSPITAL, NOW, STUDY, Hospital, Patient
from tests.simulators.web.client import visit
from twinward.clock import FixedClock
from twinward.ids import StudyId

STUDIES = (STUDY, replace(STUDY, name=StudyId("lungs")), replace(STUDY, name=StudyId("kidneys")))
CHUNK = 10_000
A_BLOCK = 100
ROUNDS = 2
BITS = purposes.bits(["heart-research"])
EXPIRY = (int(NOW) // DAY + 365) * DAY


class FilledLedger:
    """A mirror file that nobody follows: it is filled here, and confirmed without being asked."""

    def __init__(self, path: Path, clock: FixedClock) -> None:
        self._mirror = Mirror(path, rpc=None, genesis=GENESIS, contract=DOMAIN.contract)
        self.time = clock.now()
        self.slot, self.changes = self._mirror.slot, self._mirror.changes
        self.head_at, self.close = self._mirror.head_at, self._mirror.close
        self.grants = self.withdrawal = self.attestation = None  # nothing is relayed here

    @property
    def block(self):
        return self._mirror.block

    @property
    def count(self):
        return self._mirror.count

    def confirm(self):
        return self.time

    def add(self, changes):
        """Slots of grants, or of withdrawals where the digest is empty, a hundred to a block."""
        sequence, block = self._mirror.count, self._mirror.block
        with self._mirror._transaction():
            for number, (study, subject, digest) in enumerate(changes):
                block += number % A_BLOCK == 0
                sequence += 1
                bits, end, nonce = (BITS, EXPIRY, 1) if digest else (0, 0, 2)
                word = bits << 128 | end << 64 | nonce << 32 | 1 << 16 | 1
                self._mirror._db.execute(
                    "insert into events values (?, ?, ?, ?, ?, ?, ?)",
                    (sequence, block, study, subject, word.to_bytes(32), digest or bytes(32),
                     hashlib.sha256(subject).digest()),
                )  # fmt: skip
                self._mirror._db.execute(
                    "insert or replace into slots values (?, ?, ?)", (study, subject, sequence)
                )
            self._mirror._db.execute("update cursor set block = ?, confirmed = ?", (block, block))


def a_grant(study, subject) -> Grant:
    return Grant(
        network=GENESIS,
        study=study.id32,
        subject=subject,
        purposes=BITS,
        purpose_table=purposes.table_digest(),
        scope=study.scope(HOSPITAL),
        terms_shown=terms(study, hospital=HOSPITAL).digest,
        not_before=int(NOW) // DAY * DAY,
        expiry=EXPIRY,
        nonce=0,
        submit_by=int(NOW) + DAY,
    )


def fill(hospital: Hospital, ledger: FilledLedger) -> None:
    """Letters and grants of every patient for every study, on the ledger too; goes on if cut."""
    number = int.from_bytes(signature.new_key()) >> 1
    done = ledger.count // len(STUDIES)
    for start in range(done, len(hospital.records), CHUNK):
        some = hospital.records[start : start + CHUNK]
        codes = hospital.vault.enrol(STUDY.id32, some, valid_until=STUDY.closes)
        asked, made = a_grant(STUDY, bytes(20)), []
        with hospital.vault.store.transaction() as database:
            for record, code in zip(some, codes, strict=True):
                number += 1
                key = number.to_bytes(32)
                grant = replace(asked, subject=signature.address_of(key))
                digest = grant.digest(DOMAIN)
                hospital.vault.keep(
                    database, grant, digest=digest, signature=signature.sign(key, digest),
                    code=code, record=record, grade=Grade.DEVICE, received_at=int(NOW),
                )  # fmt: skip
                made.append((STUDY.id32, grant.subject, digest))
        for study in STUDIES[1:]:
            made += copied(hospital, study, some, a_grant(study, bytes(20)))
        hospital.vault.note((digest, State.ON_LEDGER, None) for _, _, digest in made)
        ledger.add(made)


def copied(hospital, study, records, grant) -> list[tuple[bytes, bytes, bytes]]:
    """Rows of another study, as many and as long as real ones."""
    hospital.vault.enrol(study.id32, records, valid_until=study.closes)
    body, at = json.dumps(grant.to_json()).encode(), int(NOW)
    hidden = [hospital.vault.hidden.hide(record) for record in records]
    made = [(study.id32, os.urandom(20), os.urandom(32)) for _ in records]
    with hospital.vault.store.transaction() as database:
        database.executemany(
            "insert into bindings values (?, ?, ?)",
            [(*one[:2], record) for one, record in zip(made, hidden, strict=True)],
        )
        database.executemany(
            "insert into grants (study, subject, digest, record, nonce, body, signature, grade,"
            " received_at, state) values (?, ?, ?, ?, 0, ?, ?, ?, ?, ?)",
            [
                (*one, record, body, bytes(65), Grade.DEVICE, at, State.WAITING)
                for one, record in zip(made, hidden, strict=True)
            ],
        )
        database.executemany(
            "insert into changes (study, record, tag) values (?, ?, ?)",
            [(study.id32, record, os.urandom(16)) for record in hidden],
        )
    return made


def timed(call):
    """Seconds of a call, and what it gave."""
    start = time.perf_counter()
    found = call()
    return time.perf_counter() - start, found


def cohorts(hospital: Hospital, ledger: FilledLedger, options) -> dict[str, float]:
    """Cold with and without what the last process left, then step by step."""
    found: dict[str, float] = {}
    snapshot = hospital.snapshot
    if options.first or not snapshot.path.exists():
        snapshot.path.unlink(missing_ok=True)
        first = hospital.cohort(snapshot=snapshot)
        seconds, mask = timed(first.mask)
        assert mask.mean() > 0.9  # earlier runs over the same folder withdrew a few
        first.save()
        found["first_cohort_s"] = seconds
        found["first_cohort_us_per_grant"] = seconds / len(mask) * 1e6
    colds = []
    for _ in range(3):
        began = time.process_time()
        seconds, mask = timed(lambda: hospital.cohort(snapshot=snapshot).mask())
        colds.append((seconds, time.process_time() - began))
    found["cold_cohort_s"], found["cold_cohort_cpu_s"] = map(max, zip(*colds, strict=True))
    found["limit_hash_of_snapshot_s"], _ = timed(
        lambda: hashlib.sha256(snapshot.path.read_bytes()).digest()
    )
    kept = hospital.vault.newest(STUDY.id32, hospital.records[0])
    check, _ = timed(lambda: [kept.verified(DOMAIN) for _ in range(2000)])
    found["limit_checking_signatures_s"] = check / 2000 * len(mask)

    cohort = hospital.cohort(snapshot=snapshot)
    used = np.flatnonzero(cohort.mask()).tolist()
    found["step_unchanged_ms"] = 1e3 * statistics.median(timed(cohort.mask)[0] for _ in range(200))
    chosen = random.sample(used, 20 * options.changes)
    steps, left = [], iter(chosen)
    for _ in range(20):
        here = [hospital.records[next(left)] for _ in range(options.changes // 2)]
        there = [hospital.records[next(left)] for _ in range(options.changes // 2)]
        for record in here:
            hospital.desk.withdraw_record(STUDY.id32, record)
        subjects = [hospital.vault.newest(STUDY.id32, record).subject for record in there]
        ledger.add([(STUDY.id32, subject, b"") for subject in subjects])
        began = time.process_time()
        seconds, _ = timed(cohort.mask)
        steps.append((seconds, time.process_time() - began))
    assert cohort.mask().sum() == len(used) - 20 * 2 * (options.changes // 2)
    walls, cpus = zip(*steps, strict=True)
    found["step_ms_median"] = 1e3 * statistics.median(walls)
    found["step_ms_worst"] = 1e3 * max(walls)
    found["step_cpu_ms_median"] = 1e3 * statistics.median(cpus)
    found["step_cpu_ms_worst"] = 1e3 * max(cpus)
    register, record = Register(hospital.vault), hospital.records[chosen[0]]
    found["standing_of_one_ms"] = 1e3 * timed(lambda: register.standing(record))[0]
    found["snapshot_mb"] = snapshot.path.stat().st_size / 1e6
    return found


def pages(hospital: Hospital, folder: Path, count: int) -> dict[str, float]:
    """Patients come in with a letter each and look at their pages."""
    seconds: dict[str, list[float]] = {}
    desk = RunningDesk(hospital, folder)
    state, origin = folder / "portal", "https://hospital.example"
    state.mkdir()
    with ExitStack() as stack:
        stack.callback(desk.close)
        site = stack.enter_context(
            running(
                state, origin=origin, hospital=HOSPITAL, domain=DOMAIN,
                desk=f"localhost:{desk.port}", ca=desk.tls.ca.read_bytes(), clock=hospital.clock,
            )
        )  # fmt: skip
        for number in random.sample(range(len(hospital.records)), count):
            visitor = stack.enter_context(visit(site, origin))
            token = re.search(r'name="csrf" value="([^"]+)"', visitor.get("/sign-in").text)[1]
            form = {"csrf": token, "code": spelled(hospital.letter(number).code)}
            answer = visitor.post("/sign-in", data=form, headers={"origin": origin})
            assert answer.status_code == 303, answer.text
            for page in ROUNDS * ("/home", "/studies/0", "/studies/0/yes", "/studies/0/stop"):
                took, answer = timed(lambda page=page, v=visitor: v.get(page))
                assert answer.status_code == 200, (page, answer.text[:500])
                seconds.setdefault(page, []).append(took)
    every = sorted(took for each in seconds.values() for took in each)
    return {
        "pages": len(every),
        "page_p50_ms": 1e3 * statistics.median(every),
        "page_p95_ms": 1e3 * every[int(0.95 * len(every))],
        "page_max_ms": 1e3 * every[-1],
    }


def onboarding(hospital: Hospital, count: int) -> dict[str, float]:
    """Letters written in bulk, grants taken one by one at the desk, each durable, then relayed."""
    study = replace(STUDY, name=StudyId(f"new-{time.time_ns()}"))
    hospital.open_studies[study.id32] = study
    records = hospital.records[:count]
    letters, codes = timed(
        lambda: hospital.vault.enrol(study.id32, records, valid_until=study.closes)
    )
    bodies = []
    for number, code in enumerate(codes):
        letter = replace(hospital.letter_of(code), study=study)
        patient = Patient(hospital, number, letter=letter)
        bodies.append(patient.body(patient.grant()))
    taken, _ = timed(lambda: [hospital.desk.grant(body) for body in bodies])
    ready, _ = timed(lambda: hospital.vault.ready_for_ledger(100))
    return {
        "letters_per_second": count / letters,
        "grants_taken_per_second": count / taken,
        "batch_for_ledger_ms": 1e3 * ready,
    }


def measured(options) -> dict[str, float]:
    """All figures of one place for the vault."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = options.folder or scratch
        folder.mkdir(exist_ok=True)
        clock = FixedClock(NOW)
        ledger = stack.enter_context(closing(FilledLedger(folder / "mirror.sqlite", clock)))
        hospital = Hospital(folder, patients=options.patients, ledger=ledger)
        stack.callback(hospital.vault.store.close)
        result: dict[str, float] = {"patients": options.patients, "load": os.getloadavg()[0]}
        if ledger.count < len(STUDIES) * options.patients:
            result["fill_s"], _ = timed(lambda: fill(hospital, ledger))
        (count,) = hospital.vault.store.row("select count(*) from grants")
        result["consents"] = count
        for part in (
            lambda: cohorts(hospital, ledger, options),
            lambda: onboarding(hospital, options.onboard),
            lambda: pages(hospital, scratch, options.visitors),
        ):
            result |= part()
            print(json.dumps(result), file=sys.stderr)  # it takes minutes: nothing is lost
    result["ratio_cold_to_hashing"] = result["cold_cohort_s"] / result["limit_hash_of_snapshot_s"]
    result["ratio_cold_to_checking"] = (
        result["cold_cohort_s"] / result["limit_checking_signatures_s"]
    )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="keeps what was made, for the next run")
    parser.add_argument("--first", action="store_true", help="also a cohort without a snapshot")
    parser.add_argument("--changes", type=int, default=10)
    parser.add_argument("--visitors", type=int, default=12)
    parser.add_argument("--onboard", type=int, default=2_000)
    parser.add_argument("--postgresql", action="store_true", help="then in a server, beside it")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.postgresql and options.folder:
        parser.error("--postgresql begins with empty stores each time: leave out --folder")
    result = measured(options)
    if options.postgresql:
        with postgres.server() as server, pytest.MonkeyPatch.context() as patch:
            patch.setattr(world, "place", server.vault)
            there = measured(options)
        result |= {f"postgresql_{name}": value for name, value in there.items()}
        for name in ("cold_cohort_s", "first_cohort_s", "step_ms_median", "fill_s"):
            if name in there and name in result:
                result[f"ratio_postgresql_{name}"] = there[name] / result[name]
        taken = "grants_taken_per_second"
        result[f"ratio_postgresql_{taken}"] = there[taken] / result[taken]
    result = {name: round(value, 4) for name, value in result.items()}
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:32} {value}")


if __name__ == "__main__":
    main()
