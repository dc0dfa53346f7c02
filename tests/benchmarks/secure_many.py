"""What a secure step of 64 nodes costs: 10,000 parameters, mutual TLS, on this machine's cores.

    python tests/benchmarks/secure_many.py --json

Sixteen nodes in each of four processes, every one with its own key, certificate, connection, noise
and all signatures of all others at every step; a coordinator with a durable transcript. Left out
are the nodes' own durable marks: 64 hospitals do not share a disk. The peer is a plain sum over the
same streams with the same noise. Steps after the first one are counted.
Targets: p50 of a step 0.6 s; CPU of all processes per step 1.2 s, which is 0.6 s of two cores and
does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from hospital_node.privacy.noise import gaussian
from hospital_node.secure_sum import Work, run_session
from hospital_node.secure_sum_stream import grpc_streams
from server.secure_sum import SecureSumRun
from server.transcript import Transcript
from tests.benchmarks.secure_large import Meter
from tests.benchmarks.secure_step import PlainService, percentiles
from tests.simulators.secsum.coordinator import serving
from tests.simulators.secsum.network import ROOT, Network
from tests.simulators.secsum.node import channel
from twinward.rpc.messages_pb2 import Frame
from twinward.rpc.messages_pb2_grpc import NetworkStub
from twinward.signing import Identity, PublicIdentity

MEMBERS, PROCESSES, STEPS, REPEATS = 64, 4, 12, 3
DIMENSION = 10_000
TARGET_S = 0.6
LIMIT = 1 << 50


def noised() -> np.ndarray:
    """A node's vector: noise and the one rounding."""
    return np.rint(gaussian(DIMENSION, sd=2.0**20)).astype(np.int64)


async def secure_node(config: dict, meter: Meter) -> None:
    members = [PublicIdentity.from_hex(text) for text in config["members"]]
    work = Work(
        contribute=lambda *_: noised(),
        mark=lambda *_: None,
        apply=meter.note,
        consent_head=lambda: bytes(32),
        model_digest=lambda: bytes(32),
        let_out=lambda *_: None,
    )
    async with channel(config) as opened:
        await run_session(
            grpc_streams(opened),
            work=work,
            identity=Identity.load(Path(config["identity"])),
            members={member.fingerprint: member for member in members},
            coordinator=PublicIdentity.from_hex(config["coordinator"]),
            run=bytes.fromhex(config["run"]),
            plan_digest=bytes(32),
            dimension=DIMENSION,
            word_bits=64,
            max_abs_sum=LIMIT,
            steps=STEPS,
            slot_seconds=0.0,
            deadline_seconds=20.0,
            patience_seconds=5.0,
        )


async def plain_node(config: dict, meter: Meter) -> None:
    async with channel(config) as opened:
        call = NetworkStub(opened).Session()
        await call.read()
        for _ in range(STEPS):
            await call.write(Frame(data=noised().tobytes()))
            await call.read()
            meter.note()
        await call.done_writing()


async def several(role: str, configs: list[dict]) -> dict[str, float]:
    """Sixteen nodes in this process; CPU time per step of all of them."""
    node, meter = secure_node if role == "secure" else plain_node, Meter()
    await asyncio.gather(*(node(config, meter) for config in configs))
    first, last = meter.notes[len(configs) - 1], meter.notes[-1]
    return {"cpu_s": (last[0] - first[0]) / (STEPS - 1)}


async def secure(network: Network) -> tuple[list[float], Meter]:
    steps: list[float] = []
    meter = Meter()

    async def progress(event):
        if event.kind == "step":
            steps.append(event.milliseconds)
            meter.note()

    record = Transcript.create(network.folder / "run.sqlite", run=network.run, plan=bytes(32))
    run = SecureSumRun(
        identity=network.coordinator,
        run=network.run,
        plan_digest=bytes(32),
        members={one.public.fingerprint: one.public for one in network.identities},
        dimension=DIMENSION,
        word_bits=64,
        max_abs_sum=LIMIT,
        steps=STEPS,
        spare_attempts=1,
        deadline_seconds=20.0,
        record=record,
        progress=progress,
    )
    async with serving({network.run: run}, config=network.server):
        await run.drive(gather_seconds=30, patience_seconds=20)
        await asyncio.sleep(0.2)
    record.close()
    return steps, meter


async def plain(network: Network) -> tuple[list[float], Meter]:
    steps: list[float] = []
    meter = Meter()
    meter.note()
    service = PlainService(steps, members=MEMBERS, rounds=STEPS)
    async with serving({}, config=network.server, service=lambda _: service):
        await service.done.wait()
        for _ in range(STEPS - 1):
            meter.note()
        await asyncio.sleep(0.5)
    return steps, meter


def one_run(role: str) -> tuple[list[float], float]:
    """Step times in milliseconds, the first step left out, and CPU seconds per step."""
    with tempfile.TemporaryDirectory() as folder, Network(Path(folder), members=MEMBERS) as network:
        paths = [network.write_config(index) for index in range(MEMBERS)]
        each = MEMBERS // PROCESSES
        processes = [
            subprocess.Popen(
                [sys.executable, __file__, role, *paths[i : i + each]],
                cwd=ROOT, stdout=subprocess.PIPE,
            )
            for i in range(0, MEMBERS, each)
        ]  # fmt: skip
        try:
            steps, meter = asyncio.run(secure(network) if role == "secure" else plain(network))
        finally:
            answers = [process.communicate(timeout=60)[0] for process in processes]
        nodes = sum(json.loads(answer)["cpu_s"] for answer in answers)
        return steps[1:], nodes + meter.per_step()["cpu_s"]


def measure() -> dict:
    """Interleaved runs."""
    steps: dict[str, list[float]] = {"plain": [], "secure": []}
    cpu: dict[str, list[float]] = {"plain": [], "secure": []}
    for _ in range(REPEATS):
        for role in steps:
            more, seconds = one_run(role)
            steps[role] += more
            cpu[role].append(seconds)
    secure_step, plain_step = percentiles(steps["secure"]), percentiles(steps["plain"])
    secure_cpu, plain_cpu = statistics.median(cpu["secure"]), statistics.median(cpu["plain"])
    return {
        "members": MEMBERS,
        "dimension": DIMENSION,
        "secure_step": {**secure_step, "fastest_ms": round(min(steps["secure"]), 1)},
        "plain_step": {**plain_step, "fastest_ms": round(min(steps["plain"]), 1)},
        "secure_cpu_s": round(secure_cpu, 3),
        "plain_cpu_s": round(plain_cpu, 3),
        "cpu_ratio_to_plain": round(secure_cpu / plain_cpu, 2),
        "targets": {
            "p50 of a step <= 0.6 s": secure_step["p50_ms"] <= TARGET_S * 1000,
            "CPU of a step <= 1.2 s": secure_cpu <= 2 * TARGET_S,
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("role", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("configs", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        configs = [json.loads(Path(path).read_text()) for path in arguments.configs]
        print(json.dumps(asyncio.run(several(arguments.role, configs))))
        return 0
    result = measure()
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=2))
    return 0 if all(result["targets"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
