"""One hospital node as a process of its own: the real driver, gradient, noise, book and gate.

``python -m tests.simulators.secsum.node CONFIG``; prints one JSON line at the end. ``crash`` in the
configuration names a point at which the process kills itself with SIGKILL.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np

from hospital_node.egress import Egress
from hospital_node.privacy.book import BudgetBook
from hospital_node.privacy.clipped_sum import LogisticClippedSum
from hospital_node.privacy.mechanism import Mechanism
from hospital_node.secure_sum import Work, run_session
from hospital_node.secure_sum_stream import grpc_streams
from twinward import descent
from twinward.clock import SystemClock
from twinward.errors import TwinwardError
from twinward.plan import KIND, Plan
from twinward.secsum.messages import Kind, Masked
from twinward.signing import Document, Identity, PublicIdentity


class Hospital:
    """Model state, cohort, noise and book of one node, as its daemon would hold them."""

    def __init__(self, config):
        self.config = config
        self.plan = Plan.from_document(
            Document.decode(Path(config["plan"]).read_bytes(), kind=KIND)
        )
        made = np.random.default_rng(config["seed"])  # stands for records; noise is the product's
        x = made.normal(size=(config["patients"], self.plan.dimension))
        y = (made.random(config["patients"]) < 0.5).astype(float)
        self.everyone = np.ones(config["patients"], dtype=bool)
        self.clipped = LogisticClippedSum(x, y, max_grad_norm=self.plan.max_grad_norm)
        self.mechanism = Mechanism(self.plan)
        self.weights = self.plan.start
        self.iterates = []
        self.book = BudgetBook(Path(config["book"]), memory=Path(config["book"]).parent)
        self.book.reserve(
            config["run"],
            plan_digest=self.plan.digest,
            attempts=self.plan.attempts,
            mu2_per_attempt=self.plan.mu2_per_attempt,
        )
        self.gate = Egress(Path(config["book"]).with_suffix(".log"), clock=SystemClock())
        self.crash = config.get("crash") or {}
        self.place = (0, 0)

    def contribute(self, step, epoch, members):
        self.place = (epoch, step)
        self.die("before_mark")
        clipped = self.clipped(self.weights, self.everyone)
        return self.mechanism.contribute(clipped, members).vector

    def mark(self, epoch, step):
        self.book.mark(self.config["run"], epoch=epoch, step=step)
        self.die("marked")

    def apply(self, step, total):
        self.weights = descent.step(self.plan, self.weights, total)
        self.iterates.append(self.weights)

    def work(self):
        return Work(
            contribute=self.contribute,
            mark=self.mark,
            apply=self.apply,
            consent_head=lambda: bytes(32),
            model_digest=lambda: descent.digest(descent.release(self.plan, self.iterates)),
            let_out=lambda kind, size: self.gate.let_out(
                "secure-sum", kind, to="coordinator", size=size
            ),
        )

    def die(self, where):
        if self.crash.get("where") == where and self.place == (1, self.crash["step"]):
            if stamp := self.config.get("stamp"):
                Path(stamp).write_text(repr(time.monotonic()))
            os.kill(os.getpid(), signal.SIGKILL)


def channel(config):
    return grpc.aio.secure_channel(
        config["address"],
        grpc.ssl_channel_credentials(
            root_certificates=Path(config["ca"]).read_bytes(),
            private_key=Path(config["tls_key"]).read_bytes(),
            certificate_chain=Path(config["certificate"]).read_bytes(),
        ),
    )


def dying_after_sending(open_stream, hospital):
    """The same streams; the process dies when the fatal vector has left."""

    @asynccontextmanager
    async def opened():
        async with open_stream() as stream:
            plain = stream.send

            async def send(frame):
                await plain(frame)
                if frame.kind == Kind.MASKED and Masked.decode(frame.head).epoch == 1:
                    if hospital.crash.get("where") == "sent" and (
                        hospital.place == (1, hospital.crash["step"])
                    ):
                        await asyncio.sleep(0.003)
                    hospital.die("sent")

            stream.send = send
            yield stream

    return opened


async def main(config):
    hospital = Hospital(config)
    members = {
        (identity := PublicIdentity.from_hex(text)).fingerprint: identity
        for text in config["members"]
    }
    async with channel(config) as opened:
        result = await run_session(
            dying_after_sending(grpc_streams(opened), hospital),
            work=hospital.work(),
            identity=Identity.load(Path(config["identity"])),
            members=members,
            coordinator=PublicIdentity.from_hex(config["coordinator"]),
            run=bytes.fromhex(config["run"]),
            plan_digest=hospital.plan.digest,
            dimension=hospital.plan.dimension,
            word_bits=hospital.plan.word_bits,
            max_abs_sum=hospital.plan.max_abs_sum,
            steps=hospital.plan.steps,
            slot_seconds=hospital.plan.slot_seconds,
            deadline_seconds=hospital.plan.deadline_seconds,
            patience_seconds=config["patience"],
            silence_seconds=config.get("silence", 60.0),
        )
    return {
        "history": result.history.hex(),
        "epoch": result.epoch,
        "attempts": result.attempts,
        "model": descent.digest(descent.release(hospital.plan, hospital.iterates)).hex(),
    }


def run(config):
    """Exit status 0 with a result, 1 with the code of a refusal."""
    try:
        print(json.dumps(asyncio.run(main(config))), flush=True)
    except TwinwardError as error:
        print(json.dumps({"refused": error.code}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run(json.loads(Path(sys.argv[1]).read_text())))
