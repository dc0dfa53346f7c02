"""A coordinator's gRPC server for one run, mutual TLS, in this process or one of its own.

``python -m tests.simulators.secsum.coordinator CONFIG``: prints one JSON line per event. With
``crash`` it kills itself when the sum of that step is on disk and nobody has been sent it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from server.secure_sum import SecureSumRun
from server.secure_sum_service import serve_session
from server.transcript import Transcript
from tests.simulators.secsum.tls import common_name
from twinward.plan import KIND, Plan
from twinward.rpc.messages_pb2_grpc import NetworkServicer, add_NetworkServicer_to_server
from twinward.signing import Document, Identity, PublicIdentity


class Service(NetworkServicer):
    def __init__(self, runs):
        self.runs = runs

    async def Session(self, request_iterator, context):
        async for frame in serve_session(
            request_iterator, context, runs=self.runs, identify=common_name
        ):
            yield frame


def credentials(config):
    """The server's side of mutual TLS."""
    return grpc.ssl_server_credentials(
        [(Path(config["server_key"]).read_bytes(), Path(config["server_cert"]).read_bytes())],
        root_certificates=Path(config["ca"]).read_bytes(),
        require_client_auth=True,
    )


@asynccontextmanager
async def serving(runs, *, config, service=Service):
    """A server on the configured address for these runs."""
    server = grpc.aio.server()
    add_NetworkServicer_to_server(service(runs), server)
    server.add_secure_port(config["address"], credentials(config))
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0.2)


def secure_run(config, *, progress):
    """The run of this configuration and its transcript; one that is there is taken up."""
    plan = Plan.from_document(Document.decode(Path(config["plan"]).read_bytes(), kind=KIND))
    path, run = Path(config["transcript"]), bytes.fromhex(config["run"])
    taken_up = path.exists()
    record = (
        Transcript.open(path) if taken_up else Transcript.create(path, run=run, plan=plan.digest)
    )
    members = [PublicIdentity.from_hex(text) for text in config["members"]]
    return record, SecureSumRun(
        identity=Identity.load(Path(config["identity"])),
        run=run,
        plan_digest=plan.digest,
        members={member.fingerprint: member for member in members},
        dimension=plan.dimension,
        word_bits=plan.word_bits,
        max_abs_sum=plan.max_abs_sum,
        steps=plan.steps,
        spare_attempts=plan.spare_attempts,
        deadline_seconds=plan.deadline_seconds,
        record=record,
        progress=progress,
        taken_up=taken_up,
    )


def dying_before_broadcast(record, *, step):
    """Kill -9 of this process between the durable sum of a step and its broadcast."""
    write = record.add_attempt

    def add_attempt(attempt):
        write(attempt)
        if attempt.sum is not None and attempt.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    record.add_attempt = add_attempt


async def main(config):
    async def progress(event):
        print(json.dumps({"kind": event.kind, "step": event.step}), flush=True)

    record, run = secure_run(config, progress=progress)
    if crash := config.get("crash"):
        dying_before_broadcast(record, step=crash["step"])
    async with serving({bytes.fromhex(config["run"]): run}, config=config):
        print(json.dumps({"kind": "listening"}), flush=True)
        await run.drive(gather_seconds=10, patience_seconds=5)
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
