"""The coordinator's process: ledger, SuperLink, services; until told to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from grpc.aio import Server

from consent.record import Domain
from ledger.audit.anchoring import Anchoring, LedgerAnchor
from ledger.audit.log import AuditLog
from ledger.chain import Chain, LedgerMember
from ledger.endpoint import Endpoint
from server import ca_rollover, evaluate, forgotten_runs, front_door, ledger_door, upgrade
from server.checkpoints import CheckpointThread
from server.coordinator import Coordinator
from server.founding_ceremony import load_founding
from server.front_door_keeper import Keeper
from server.front_door_relay import RelayService, WithdrawalRelay
from server.gate import Gate
from server.invitations import Register
from server.joining import Joining, JoinService, join_server
from server.paths import ServerPaths
from server.publish import publish, unpublished
from server.queue_keeper import QueueKeeper
from server.services import LocalService, NetworkService, add_local, network_server
from server.settings import FILE, ServerSettings
from server.study_queue import StudyQueue
from server.supervise import SuperLink
from server.transcript import OPEN, Transcript
from twinward import logging
from twinward.clock import SystemClock
from twinward.console import say
from twinward.errors import TwinwardError
from twinward.founding import Founding
from twinward.logging import log
from twinward.organisation import Organisation
from twinward.rpc.local import LocalAddress, local_server
from twinward.rpc.tls import TlsFiles
from twinward.settings import load

_THREADS = 32


def main(folder: Path) -> int:
    """Run the coordinator until SIGTERM or Ctrl-C; returns the exit status.

    Raises:
        EvidenceError: TW7408, a newer release wrote a database of this folder; nothing was opened.
    """
    upgrade.require_known(folder)
    asyncio.run(_with_threads(folder))
    return 0


async def _with_threads(folder: Path) -> None:
    """A silent ledger holds threads for as long as it may take; others find one all the same."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "aside"))
    await _serve(folder)


async def _serve(folder: Path) -> None:
    settings = load(ServerSettings, folder / FILE)
    founding = load_founding(folder)
    logging.configure(role="coordinator", org=settings.org)
    organisation, paths = Organisation(folder), ServerPaths(folder)
    _take_up(paths, organisation, founding)
    address = LocalAddress.of(folder)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with contextlib.AsyncExitStack() as stack:
        ledger = ledger_door.own_ledger(founding, organisation, port=settings.ledger_port)
        superlink = SuperLink(
            paths.superlink, tls=organisation.tls, port=settings.flower_port, daemon=address
        )
        if ledger is not None:
            stack.callback(ledger.stop)
        stack.callback(superlink.stop)
        await asyncio.to_thread(superlink.start)
        if ledger is not None:
            await asyncio.to_thread(ledger.start)
            say(f"ledger is up: {ledger.url}, pid {ledger.pid}")
        chain = await asyncio.to_thread(found_ledger, founding, organisation)
        audit = AuditLog(
            paths.audit,
            org=founding.coordinator.org,
            genesis=bytes.fromhex(str(founding.chain["genesis_hash"])),
            identity=organisation.identity(),
            clock=SystemClock(),
        )
        stack.callback(audit.close)
        coordinator = Coordinator(
            paths=paths,
            settings=settings,
            founding=founding,
            identity=organisation.identity(),
            chain=chain,
            superlink=superlink,
            ledger=ledger,
            audit=audit,
        )
        coordinator.did("coordinator-started")
        await _sign_checkpoints(stack, coordinator)
        _bring_heads(stack, coordinator)
        where = f"{settings.host}:{settings.network_port}"
        socket = local_server(address)
        queue = StudyQueue(paths.queue)
        stack.callback(queue.close)
        keeper = QueueKeeper(coordinator, queue, clock=SystemClock())
        add_local(LocalService(coordinator, keeper), socket)
        gate = await _gate(stack, coordinator)
        for server in (socket, *_for_hospitals(coordinator, gate, tls=organisation.tls)):
            await server.start()
            stack.push_async_callback(server.stop, 1.0)
        await asyncio.to_thread(superlink.wait_ready)
        await gate.look()  # Flower knows the hospitals' keys before anybody is told that we are up
        await _at_the_door(stack, gate, settings=settings, organisation=organisation)
        watching = asyncio.create_task(gate.watch())
        stack.callback(watching.cancel)
        await complete_releases(coordinator)
        stack.push_async_callback(keeper.stop)
        keeper.start()  # first what a stop interrupted
        say(f"coordinator of `{settings.network}` is up: {where}, pid {os.getpid()}")
        await ended.wait()
        say("coordinator is stopping")
        coordinator.did("coordinator-stopped")


async def _gate(stack: contextlib.AsyncExitStack, coordinator: Coordinator) -> Gate:
    """The gate, which knows who was put out, before anything listens."""
    register = Register(coordinator.paths.register)
    stack.callback(register.close)
    gate = Gate(coordinator, register, clock=SystemClock())
    await gate.read_back()
    return gate


async def _sign_checkpoints(stack: contextlib.AsyncExitStack, coordinator: Coordinator) -> None:
    """Sign checkpoints of the ledger until the stack is closed; first, read what it knows alone."""
    folder, paths = coordinator.paths.folder, coordinator.paths
    coordinator.forgotten = await asyncio.to_thread(forgotten_runs.read, folder)
    checkpoints = CheckpointThread(
        folder,
        state=paths.checkpoints,
        identity=coordinator.identity,
        every_seconds=coordinator.settings.checkpoint_seconds,
    )
    stack.callback(checkpoints.stop)
    checkpoints.start()


def _bring_heads(stack: contextlib.AsyncExitStack, coordinator: Coordinator) -> None:
    """Bring heads of the audit log to the ledger until the stack is closed."""
    rpc = coordinator.endpoint.rpc()
    stack.callback(rpc.close)
    heads = Anchoring(
        coordinator.audit,
        LedgerAnchor(coordinator.chain, rpc=rpc, tip=coordinator.sign_tip),
        every_seconds=coordinator.settings.audit_anchor_seconds,
    )
    stack.callback(heads.stop)
    heads.start()


def _take_up(paths: ServerPaths, organisation: Organisation, founding: Founding) -> None:
    """After a stop: runs that it ended are noted; an own certificate that is due is renewed.

    With an expired one nothing would start.
    """
    close_interrupted_runs(paths)
    try:
        if ca_rollover.renew_own_if_due(organisation, founding, now=time.time()):
            log().info("own certificate renewed")
    except TwinwardError as error:  # it may last for weeks still
        log().warning("own certificate is due and was not renewed", code=error.code)


async def _at_the_door(
    stack: contextlib.AsyncExitStack,
    gate: Gate,
    *,
    settings: ServerSettings,
    organisation: Organisation,
) -> None:
    """Answer the front door, if there is one, until the stack is closed."""
    door = front_door.key_digest(organisation.folder)
    if settings.keeper_port and door is not None:
        serving = Keeper(gate, door=door).serve(
            tls=organisation.tls, host=settings.host, port=settings.keeper_port
        )
        stack.callback((await serving).close)


def _for_hospitals(coordinator: Coordinator, gate: Gate, *, tls: TlsFiles) -> list[Server]:
    """What listens for members, for hospitals that were invited, and for patients' withdrawals."""
    settings, clock = coordinator.settings, SystemClock()
    service = NetworkService(coordinator, gate, clock=clock)
    servers = [network_server(service, tls=tls, address=f"{settings.host}:{settings.network_port}")]
    if settings.join_port:
        door = bool(settings.front_door)
        joining = JoinService(Joining(coordinator, gate.register, clock=clock), door=door)
        relay = WithdrawalRelay(
            domain=lambda: Domain.of(coordinator.founding), chain=coordinator.chain
        )
        address = f"{settings.host}:{settings.join_port}"
        servers.append(
            join_server(joining, RelayService(relay, door=door), tls=tls, address=address)
        )
    return servers


def found_ledger(founding: Founding, organisation: Organisation) -> Chain:
    """Connect to the ledger and put the contracts where the founding file says; safe to repeat."""
    endpoint = Endpoint.of(founding, organisation.folder)
    chain = endpoint.chain(founding, key=organisation.ledger_key())
    members = [LedgerMember.of(member) for member in founding.founders]
    if founding.moves:
        chain.check_contracts(founding_digest=founding.digest)
    else:
        chain.deploy(founding_digest=founding.digest, members=members)
    return chain


async def complete_releases(coordinator: Coordinator) -> None:
    """Finish what a crash interrupted: runs that every member closed but that have no pack yet."""
    for run in await asyncio.to_thread(unpublished, coordinator.paths):
        try:
            await evaluate.take_up(coordinator, run)
            await asyncio.to_thread(publish, coordinator, run)
            log().info("interrupted release completed", run=run)
        except TwinwardError as error:
            log().error("release failed", run=run, code=error.code, reason=str(error))


def close_interrupted_runs(paths: ServerPaths) -> None:
    """Note in each transcript that was still open that its run is over, unless the queue has it."""
    with contextlib.closing(StudyQueue(paths.queue)) as queue:
        going_on = {entry.run for entry in queue.entries() if entry.goes_on}
    for path in sorted(paths.transcripts.glob("*.sqlite")):
        if path.stem in going_on:
            continue
        transcript = Transcript.open(path)
        if transcript.outcome == OPEN:
            transcript.fail("the coordinator stopped during the run")
            log().warning("run was interrupted", run=path.stem)
        transcript.close()
