"""From a patient's receipt to a cohort without them: 1,000 withdrawals under load.

    python tests/benchmarks/withdrawal.py [--json] [--withdrawals N] [--patients N]

One hospital's own parts in one process: the desk over gRPC and TLS, the vault on disk with its
fsyncs, the cohort, the clipped sum of a step over the whole table, the relay and the pipeline to
the last word. Several callers withdraw at once while steps follow one another without a pause;
with the ledger up, and with the ledger gone from the first withdrawal on. The ledger is in memory
and takes 10 ms for a call; what it costs is not measured here, only that nobody waits for it.

The limit of the promise is one step and 2 s; the ratio is the slowest exclusion over it. Every
mask that was drawn after a receipt is compared with it: one that has the patient is a failure.
"""

import argparse
import contextlib
import itertools
import json
import os
import tempfile
import threading
import time
from pathlib import Path

import grpc
import numpy as np

from consent import purposes, signature
from consent.completions import Completions, Used
from consent.pipeline import Pipeline, Stage, Surroundings, progress
from consent.policy import Grade
from consent.record import DAY, Grant, Withdrawal
from consent.terms import terms
from hospital_node.privacy.clipped_sum import LogisticClippedSum
from tests.simulators.consent.desk import RunningDesk
from tests.simulators.consent.world import (
    DOMAIN,
    GENESIS,
    HOSPITAL,
    IDENTITY,
    NOW,
    STUDY,
    Hospital,
    LedgerInMemory,
)
from twinward import canonical
from twinward.clock import FixedClock
from twinward.errors import LedgerUnreachable
from twinward.rpc.messages_pb2 import Blob
from twinward.rpc.messages_pb2_grpc import ConsentDeskStub

CALLERS = 6
DIMENSION = 27
ALLOWED_SECONDS = 2.0
LEDGER_SECONDS = 0.01
FIRST_KEY = 2**200 + 1


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--withdrawals", type=int, default=1_000)
    arguments.add_argument("--patients", type=int, default=20_000)
    options = arguments.parse_args()
    load = os.getloadavg()[0]
    found = {
        name: measure(options.withdrawals, options.patients, ledger_is_up=name == "up")
        for name in ("up", "down")
    }
    report = {
        "schema": "twinward/benchmark.withdrawal/v1",
        "withdrawals": options.withdrawals,
        "patients": options.patients,
        "load_before": round(load, 1),
        "cores": os.cpu_count(),
        "ledger": found,
    }
    if options.json:
        print(json.dumps(report))
        return
    for name, one in found.items():
        print(f"ledger {name}: " + ", ".join(f"{key} {value}" for key, value in one.items()))


def measure(count, patients, *, ledger_is_up):
    with tempfile.TemporaryDirectory(prefix="twinward-withdrawal-") as folder:
        return Measured(Path(folder), count, patients).run(ledger_is_up=ledger_is_up)


class WholeBlocks(LedgerInMemory):
    """A ledger that takes a moment for a call, and shows no half of a block to another thread."""

    def __init__(self, clock):
        self._writing = threading.RLock()
        super().__init__(clock)

    @property
    def block(self):
        with self._writing:
            return self._block

    @block.setter
    def block(self, number):
        self._block = number

    def withdrawal(self, w, sig):
        time.sleep(LEDGER_SECONDS)
        with self._writing:
            super().withdrawal(w, sig)

    def attestation(self, study, subject):
        time.sleep(LEDGER_SECONDS)
        with self._writing:
            super().attestation(study, subject)


class Measured:
    """One hospital with so many patients who said yes, of whom ``count`` withdraw."""

    def __init__(self, folder, count, patients):
        self.count = count
        self.hospital = Hospital(folder, patients=patients, ledger=WholeBlocks(FixedClock(NOW)))
        self.keys = [(FIRST_KEY + number).to_bytes(32, "big") for number in range(count)]
        self.letters = [self.hospital.letter(number) for number in range(count)]
        self.fill(patients)
        self.desk = RunningDesk(self.hospital, folder)
        self.completions = Completions(folder / "completions.db")
        generator = np.random.default_rng(1)
        x = generator.normal(size=(patients, DIMENSION))
        y = (x[:, 0] > 0).astype(float)
        self.sum = LogisticClippedSum(x, y, max_grad_norm=2.0)
        self.received = {}
        """When each receipt was in the patient's hands, by number."""
        self.drawn = []
        """Begin and end of each step, and its mask."""
        self.ended = threading.Event()

    def fill(self, patients):
        hospital, shown = self.hospital, terms(STUDY, hospital=HOSPITAL).digest
        hospital.ledger._mine()
        with hospital.vault.store.transaction() as database:
            for number in range(patients):
                key = (FIRST_KEY + number).to_bytes(32, "big")
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
                code = self.letters[number].code if number < self.count else b""
                hospital.vault.keep(
                    database,
                    grant,
                    digest=digest,
                    signature=signature.sign(key, digest),
                    code=code,
                    record=hospital.records[number],
                    grade=Grade.DEVICE,
                    received_at=int(NOW),
                )
                hospital.ledger._write(
                    STUDY.id32, subject, grant.purposes, grant.expiry, 1, 1, digest
                )
            database.execute("update grants set state = 'on-ledger'")

    def run(self, *, ledger_is_up):
        cohort = self.hospital.cohort()
        assert cohort.mask().sum() == len(self.hospital.records)
        self.hospital.ledger.reachable = ledger_is_up
        steps = threading.Thread(target=self.steps, args=(cohort,))
        rest = threading.Thread(target=self.rest)
        steps.start()
        rest.start()
        numbers = itertools.count()
        callers = [threading.Thread(target=self.call, args=(numbers,)) for _ in range(CALLERS)]
        began = time.monotonic()
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        took = time.monotonic() - began
        time.sleep(2 * max(end - begin for begin, end, _ in self.drawn) + 0.1)
        if ledger_is_up:
            self.wait_complete()
        self.ended.set()
        steps.join()
        rest.join()
        found = self.judge(took, ledger_is_up=ledger_is_up)
        self.desk.close()
        self.completions.store.close()
        self.hospital.vault.store.close()
        return found

    def steps(self, cohort):
        """Steps of a run, one after the other: cohort, clipped sum."""
        weights = np.zeros(DIMENSION)
        while not self.ended.is_set():
            begin = time.monotonic()
            mask = cohort.mask()
            self.sum(weights, mask)
            self.drawn.append((begin, time.monotonic(), mask))

    def rest(self):
        """What the node's follower does: withdrawals to the ledger, then to their last word."""
        run = Used("5a" * 32, "heart-risk", trains=True, epsilon=1.0, delta=1e-5)
        around = Surroundings(
            hospital=HOSPITAL,
            identity=IDENTITY,
            clock=self.hospital.clock,
            used=lambda _: [run],
            retired=lambda _: False,
            ask_again=lambda _: True,
            successor=lambda *_: None,
            entered=lambda _: None,
        )
        pipeline = Pipeline(self.hospital.vault, self.completions, around)
        while not self.ended.is_set():
            with contextlib.suppress(LedgerUnreachable):
                self.hospital.relay.push_withdrawals()
            pipeline.advance()
            time.sleep(0.05)

    def call(self, numbers):
        """A caller: seven of ten sign with a key, two have a letter's code, one rings up."""
        credentials = grpc.ssl_channel_credentials(self.desk.tls.ca.read_bytes())
        with grpc.secure_channel(f"localhost:{self.desk.port}", credentials) as channel:
            stub = ConsentDeskStub(channel)
            while (number := next(numbers)) < self.count:
                if number % 10 == 9:
                    record = self.hospital.records[number]
                    self.hospital.desk.withdraw_record(STUDY.id32, record, staff="desk")
                else:
                    stub.Withdraw(Blob(data=self.body(number)), timeout=30)
                self.received[number] = time.monotonic()

    def body(self, number):
        if number % 10 > 6:
            code, study = self.letters[number].code.hex(), STUDY.id32.hex()
            return canonical.encode({"code": code, "study": study})
        withdrawal = Withdrawal(
            network=GENESIS,
            study=STUDY.id32,
            subject=signature.address_of(self.keys[number]),
            nonce=1,
            signed_at=int(NOW),
        )
        signed = withdrawal.sign(self.keys[number], DOMAIN).hex()
        return canonical.encode({"withdrawal": withdrawal.to_json(), "signature": signed})

    def wait_complete(self):
        until = time.monotonic() + 120
        while time.monotonic() < until:
            if len(self.completions.completed()) == self.count:
                return
            time.sleep(0.2)
        raise SystemExit("not every withdrawal came to its last word in two minutes")

    def judge(self, took, *, ledger_is_up):
        begins = np.array([begin for begin, _, _ in self.drawn])
        waited, after = [], 0
        for number, at in self.received.items():
            later = np.searchsorted(begins, at)
            after += sum(bool(mask[number]) for _, _, mask in self.drawn[later:])
            # Up to when a step that still had the patient was computed: until its end.
            last = max((end for _, end, mask in self.drawn if mask[number]), default=at)
            waited.append(max(0.0, last - at))
        step = max(end - begin for begin, end, _ in self.drawn)
        p50, p95 = np.percentile(waited, [50, 95])
        standing = list(progress(self.hospital.vault, self.completions))
        assert len(standing) == self.count
        wanted = Stage.COMPLETE if ledger_is_up else Stage.EXCLUDED
        assert {one.stage for one in standing} == {wanted}
        return {
            "masks_with_somebody_after_their_receipt": after,
            "steps": len(self.drawn),
            "longest_step_ms": round(1e3 * step, 1),
            "withdrawals_a_second": round(self.count / took, 1),
            "p50_ms": round(1e3 * p50, 1),
            "p95_ms": round(1e3 * p95, 1),
            "max_ms": round(1e3 * max(waited), 1),
            "ratio_to_limit": round(max(waited) / (step + ALLOWED_SECONDS), 4),
        }


if __name__ == "__main__":
    main()
