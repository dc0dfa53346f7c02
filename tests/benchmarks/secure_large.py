"""What a secure step of ten million parameters costs: 4 node processes and a coordinator, mTLS.

    python tests/benchmarks/secure_large.py --json

CPU seconds of all processes per step, noise included, against a plain sum of the same word size
over the same gRPC in the same run: no noise, no masks, no hashes, no signatures, no record. Wall
time is shown and not judged: five processes share the cores. Steps after the first one are counted.
Targets: at most 2.2 times the CPU of the plain sum with 32-bit words, 2.5 times with 64-bit words.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from hospital_node.privacy.noise import gaussian
from hospital_node.secure_sum import Work, run_session
from hospital_node.secure_sum_stream import grpc_streams
from server.secure_sum import SecureSumRun
from server.transcript import Transcript
from tests.simulators.secsum.coordinator import serving
from tests.simulators.secsum.network import Network
from tests.simulators.secsum.node import channel
from twinward.rpc.messages_pb2 import Frame
from twinward.rpc.messages_pb2_grpc import NetworkServicer, NetworkStub
from twinward.secsum.vectors import data_frame
from twinward.secsum.words import PIECE_BYTES, WordFormat
from twinward.signing import Identity, PublicIdentity

MEMBERS, STEPS, REPEATS = 4, 4, 3
TARGETS = {32: 2.2, 64: 2.5}
GRID_SD = 2.0**15
"""Noise of one member in grid steps."""


def limit(bits: int) -> int:
    return 1 << (bits - 2)


class Meter:
    """CPU and wall time between the first and the last of the steps noted."""

    def __init__(self) -> None:
        self.notes: list[tuple[float, float]] = []

    def note(self, *_: object) -> None:
        self.notes.append((time.process_time(), time.monotonic()))

    def per_step(self) -> dict[str, float]:
        (cpu, wall), (cpu_end, wall_end) = self.notes[0], self.notes[-1]
        steps = len(self.notes) - 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {
            "cpu_s": (cpu_end - cpu) / steps,
            "wall_s": (wall_end - wall) / steps,
            "peak_mb": peak,
        }


def noised(words: WordFormat) -> Iterator[np.ndarray]:
    """A member's vector in blocks: the noise and the one rounding, as the mechanism does them."""
    for start in range(0, words.dimension, words.block):
        block = gaussian(min(words.block, words.dimension - start), sd=GRID_SD)
        np.rint(block, out=block)
        yield block.astype(np.int64)


async def secure_node(config: dict) -> dict[str, float]:
    words, meter = WordFormat(config["bits"], config["dimension"]), Meter()
    work = Work(
        contribute=lambda *_: noised(words),
        mark=lambda *_: None,
        apply=meter.note,
        consent_head=lambda: bytes(32),
        model_digest=lambda: bytes(32),
        let_out=lambda *_: None,
    )
    members = [PublicIdentity.from_hex(text) for text in config["members"]]
    async with channel(config) as opened:
        await run_session(
            grpc_streams(opened),
            work=work,
            identity=Identity.load(Path(config["identity"])),
            members={member.fingerprint: member for member in members},
            coordinator=PublicIdentity.from_hex(config["coordinator"]),
            run=bytes.fromhex(config["run"]),
            plan_digest=bytes(32),
            dimension=words.dimension,
            word_bits=words.bits,
            max_abs_sum=limit(words.bits),
            steps=STEPS,
            slot_seconds=0.0,
            deadline_seconds=60.0,
            patience_seconds=5.0,
        )
    return meter.per_step()


async def secure(network: Network, words: WordFormat) -> dict[str, float]:
    meter = Meter()

    async def progress(event):
        if event.kind == "step":
            meter.note()

    record = Transcript.create(network.folder / "run.sqlite", run=network.run, plan=bytes(32))
    run = SecureSumRun(
        identity=network.coordinator,
        run=network.run,
        plan_digest=bytes(32),
        members={one.public.fingerprint: one.public for one in network.identities},
        dimension=words.dimension,
        word_bits=words.bits,
        max_abs_sum=limit(words.bits),
        steps=STEPS,
        spare_attempts=1,
        deadline_seconds=60.0,
        record=record,
        progress=progress,
    )
    async with serving({network.run: run}, config=network.server):
        await run.drive(gather_seconds=30, patience_seconds=30)
        await asyncio.sleep(0.2)
    record.close()
    return meter.per_step()


def plain_frames(data: memoryview) -> Iterator[Frame]:
    for index, start in enumerate(range(0, len(data), PIECE_BYTES)):
        yield data_frame(index, bytes(data[start : start + PIECE_BYTES]))


async def plain_node(config: dict) -> dict[str, float]:
    """Rounds the same numbers to the same words, sends them in the same pieces, keeps the sum."""
    words, meter = WordFormat(config["bits"], config["dimension"]), Meter()
    vector = np.arange(words.dimension, dtype=np.float64)
    total = np.empty(words.dimension, dtype=words.dtype)
    async with channel(config) as opened:
        call = NetworkStub(opened).Session()
        await call.read()
        for _ in range(STEPS):
            for index, start in enumerate(range(0, words.dimension, words.block)):
                block = np.rint(vector[start : start + words.block]).astype(words.dtype)
                await call.write(data_frame(index, block.tobytes()))
            at = 0
            while at < total.size:
                piece = np.frombuffer((await call.read()).data, dtype=words.dtype)
                total[at : at + piece.size] = piece
                at += piece.size
            meter.note()
        await call.done_writing()
    return meter.per_step()


class PlainService(NetworkServicer):
    """Adds pieces as they come; when all have come, everyone is sent the sum."""

    def __init__(self, words: WordFormat, meter: Meter) -> None:
        self.words, self.meter, self.done = words, meter, asyncio.Event()
        self.outboxes: list[asyncio.Queue] = []
        self.begin()

    def begin(self) -> None:
        self.total = np.zeros(self.words.dimension, dtype=self.words.dtype)
        self.finished = 0

    async def Session(self, request_iterator, context):
        outbox: asyncio.Queue = asyncio.Queue()
        self.outboxes.append(outbox)
        reader = asyncio.create_task(self.read(request_iterator))
        if len(self.outboxes) == MEMBERS:
            for each in self.outboxes:
                each.put_nowait([Frame()])
        while (frames := await outbox.get()) is not None:
            for frame in frames:
                yield frame
        await reader

    async def read(self, frames):
        at = 0
        async for frame in frames:
            piece = np.frombuffer(frame.data, dtype=self.words.dtype)
            part = self.total[at : at + piece.size]
            np.add(part, piece, out=part)
            at += piece.size
            if at == self.words.dimension:
                at = 0
                self.finished += 1
                if self.finished == MEMBERS:
                    self.publish()

    def publish(self) -> None:
        frames = tuple(plain_frames(self.total.data.cast("B")))
        self.meter.note()
        self.begin()
        last = len(self.meter.notes) == STEPS
        for outbox in self.outboxes:
            outbox.put_nowait(frames)
            if last:
                outbox.put_nowait(None)
        if last:
            self.done.set()


async def plain(network: Network, words: WordFormat) -> dict[str, float]:
    meter = Meter()
    service = PlainService(words, meter)
    async with serving({}, config=network.server, service=lambda _: service):
        await service.done.wait()
        await asyncio.sleep(2.0)
    return meter.per_step()


def in_process(role: Callable, network: Network, words: WordFormat) -> dict[str, float]:
    """The coordinator in a process of its own: this one has not touched gRPC before it forks."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(asyncio.run(role(network, words))))
    process.start()
    sender.close()
    found = receiver.recv()
    process.join()
    return found


def one_run(kind: str, bits: int, dimension: int) -> dict[str, float]:
    """Coordinator and nodes in processes of their own; their CPU time per step added up."""
    with tempfile.TemporaryDirectory() as folder, Network(Path(folder), members=MEMBERS) as network:
        about = {"role": kind, "bits": bits, "dimension": dimension}
        for index in range(MEMBERS):
            network.start_node(index, program="tests.benchmarks.secure_large", **about)
        coordinator = in_process(
            secure if kind == "secure" else plain, network, WordFormat(bits, dimension)
        )
        nodes = [json.loads(process.communicate(timeout=60)[0]) for process in network.processes]
    return {
        "cpu_s": coordinator["cpu_s"] + sum(node["cpu_s"] for node in nodes),
        "coordinator_cpu_s": coordinator["cpu_s"],
        "node_cpu_s": statistics.mean(node["cpu_s"] for node in nodes),
        "wall_s": coordinator["wall_s"],
        "coordinator_peak_mb": coordinator["peak_mb"],
        "node_peak_mb": max(node["peak_mb"] for node in nodes),
    }


def measure(dimension: int) -> dict:
    """Medians of interleaved runs."""
    runs: dict[str, list[dict[str, float]]] = {}
    for _ in range(REPEATS):
        for bits in (32, 64):
            for kind in ("plain", "secure"):
                runs.setdefault(f"{kind}_{bits}", []).append(one_run(kind, bits, dimension))
    result: dict = {
        name: {key: round(statistics.median(one[key] for one in found), 3) for key in found[0]}
        for name, found in runs.items()
    }
    targets = {}
    for bits, target in TARGETS.items():
        ratio = result[f"secure_{bits}"]["cpu_s"] / result[f"plain_{bits}"]["cpu_s"]
        result[f"cpu_ratio_{bits}"] = round(ratio, 2)
        targets[f"{bits}-bit words: CPU <= {target} of the plain sum"] = ratio <= target
    return {**result, "dimension": dimension, "repeats": REPEATS, "targets": targets}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--dimension", type=int, default=10_000_000)
    parser.add_argument("config", nargs="?", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.config:
        config = json.loads(Path(arguments.config).read_text())
        role = secure_node if config["role"] == "secure" else plain_node
        print(json.dumps(asyncio.run(role(config))))
        return 0
    result = measure(arguments.dimension)
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=2))
    return 0 if all(result["targets"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
