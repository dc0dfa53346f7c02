"""The node's process: opens the node, serves desk and socket, keeps a SuperNode, until told to end.

It stays warm: data, keys and mirror are loaded once, a run begins without starting anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import grpc.aio

from hospital_node import accounts, attest, desk, erasure, forwarder, memory
from hospital_node.audit_anchor import anchoring
from hospital_node.leave import has_left
from hospital_node.node import Node
from hospital_node.paths import FHIR, NodePaths
from hospital_node.renew import Renewing
from hospital_node.supervise import SuperNode
from hospital_node.train import train, warm
from hospital_node.twins.validation_schedule import Revalidation
from hospital_node.watch import describe
from hospital_node.witness import WitnessThread
from twinward import logging
from twinward.clock import SystemClock
from twinward.console import say
from twinward.errors import InternalError, TwinwardError
from twinward.logging import log
from twinward.organisation import Organisation
from twinward.reach import Reach
from twinward.rpc.local import LocalAddress, local_server
from twinward.rpc.messages_pb2 import Blob, Closing, Nothing, Opening
from twinward.rpc.messages_pb2_grpc import NodeLocalServicer, add_NodeLocalServicer_to_server
from twinward.rpc.replies import abort


def main(folder: Path) -> int:
    """Run the node until SIGTERM or Ctrl-C; returns the exit status."""
    asyncio.run(_serve(folder))
    return 0


class LocalService(NodeLocalServicer):  # type: ignore[misc]
    """What this machine's command line and the thin ClientApp may call, with the token."""

    def __init__(self, node: Node, supernode: SuperNode, witness: WitnessThread | None) -> None:
        self._node = node
        self._witness = witness
        self._supernode = supernode
        self._trainings: dict[bytes, asyncio.Task[Closing]] = {}

    async def Status(self, request: Nothing, context: grpc.aio.ServicerContext) -> Blob:  # noqa: N802
        """Health, cohort, budget, mirror."""
        del request
        try:
            found = describe(self._node, self._supernode, self._witness)
        except TwinwardError as error:
            await abort(context, error)
        return Blob(data=json.dumps(found).encode())

    async def Price(self, request: Blob, context: grpc.aio.ServicerContext) -> Blob:  # noqa: N802
        """What a plan would cost the patients, before anyone decides on it."""
        return await _answered(lambda: accounts.price_here(self._node, request.data), context)

    async def Account(self, request: Blob, context: grpc.aio.ServicerContext) -> Blob:  # noqa: N802
        """One patient's account, and the limit that the patient chose."""
        return await _answered(lambda: accounts.serve(self._node, request.data), context)

    async def Attest(self, request: Blob, context: grpc.aio.ServicerContext) -> Blob:  # noqa: N802
        """A withdrawal that staff take down; it holds when this answers."""
        return await _answered(lambda: attest.serve(self._node, request.data), context)

    async def Forget(self, request: Blob, context: grpc.aio.ServicerContext) -> Blob:  # noqa: N802
        """Let go of somebody who was erased from the stores."""
        return await _answered(lambda: memory.serve(self._node, request.data), context)

    async def OpenRun(self, request: Opening, context: grpc.aio.ServicerContext) -> Closing:  # noqa: N802
        """Take part in a run; goes on if Flower's app, which asked, dies in between.

        The same opening once more, from an app that took its place, waits for the same end.
        """
        name = request.SerializeToString(deterministic=True)
        task = self._trainings.get(name)
        if task is None:
            task = self._trainings[name] = asyncio.create_task(train(self._node, request))
            task.add_done_callback(lambda _: self._trainings.pop(name, None))
        try:
            return await asyncio.shield(task)
        except TwinwardError as error:
            log().warning("run refused", code=error.code, reason=error.diagnostic.message)
            await abort(context, error)
        except Exception as error:
            log().error("run failed", error=type(error).__name__)
            await abort(
                context,
                InternalError(
                    f"the run ended by an unexpected {type(error).__name__}",
                    code="TW9002",
                    help="report it with this node's log; attempts made stay charged",
                ),
            )
            raise


async def _answered(
    answer: Callable[[], Mapping[str, object]], context: grpc.aio.ServicerContext
) -> Blob:
    try:
        found = await asyncio.to_thread(answer)
    except TwinwardError as error:
        await abort(context, error)
    return Blob(data=json.dumps(found).encode())


async def _serve(folder: Path) -> None:
    with forwarder.of(folder):  # first: what follows goes out through it
        await _serve_node(folder)


async def _serve_node(folder: Path) -> None:
    await asyncio.to_thread(erasure.before_start, folder, clock=SystemClock())
    node = await asyncio.to_thread(Node.open, folder, clock=SystemClock())
    logging.configure(role="node", org=node.settings.org)
    await asyncio.to_thread(warm, node)
    address, tls = LocalAddress.of(folder), Organisation(folder).tls
    witness = WitnessThread.of(node)
    supernode = SuperNode(
        NodePaths(folder).supernode,
        superlink=Reach.of(folder).flower or node.founding.endpoints["flower"],
        ca=tls.ca,
        key=Organisation(folder).flower_key,
        port=node.settings.flower_port,
        daemon=address,
        on_restart=lambda status: log().warning(
            "supernode ended and is started again", exit_status=status
        ),
    )
    service = desk.DeskService(node.desk, node.egress, changed=node.follower.changed)
    where = f"{node.settings.host}:{node.settings.desk_port}"
    desk_server, socket = desk.desk_server(service, tls=tls, address=where), local_server(address)
    add_NodeLocalServicer_to_server(LocalService(node, supernode, witness), socket)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(node.close)
        node.audit.did("node-started")
        node.rules.standing()  # a policy that changed while the node was down is entered now
        heads = anchoring(node)
        stack.callback(heads.stop)
        heads.start()
        if witness is not None:
            stack.callback(witness.stop)
            node.follower.also_require(witness.require)
        node.follower.start()
        for task in (Renewing(folder, clock=node.clock), Revalidation(node)):
            stack.callback(task.stop)
            task.start()
        for server in (socket, desk_server):
            await server.start()
            stack.push_async_callback(server.stop, 1.0)
        if (folder / FHIR).is_file():
            from hospital_node import fhir  # noqa: PLC0415 - needs the extra `web`

            fhir_api = await asyncio.to_thread(fhir.of, node)
            fhir_api.start()
            stack.callback(fhir_api.stop)
        stack.callback(supernode.stop)
        if has_left(folder):
            say("this hospital left the network: patients may withdraw, nothing is trained")
        else:
            await asyncio.to_thread(supernode.start)
            await asyncio.to_thread(supernode.wait_online)
            if witness is not None:
                witness.start()  # last: nothing of the node's own start waits for a second EVM
        say(f"node `{node.settings.org}` is up: consent desk {where}, pid {os.getpid()}")
        await ended.wait()
        say(f"node `{node.settings.org}` is stopping")
        node.audit.did("node-stopped")
