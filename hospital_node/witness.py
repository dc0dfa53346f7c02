"""Follows the ledger with a node of its own and co-signs what that node executed.

The node is a child process: it has none of this hospital's keys and sees none of its data. A thread
here compares what it executed with what the coordinator signed, signs, and learns who else did. A
ledger that this hospital's own node contradicts gives no cohort: nobody's data is used.
"""

from __future__ import annotations

from collections import deque
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from hospital_node.cosign import CheckpointWitness
from hospital_node.egress import Egress
from hospital_node.follower import CALL_SECONDS, coordinator_silent, fetch_tip
from hospital_node.paths import NodePaths
from hospital_node.settings import FILE
from ledger.evidence import as_json
from ledger.fork import Statements
from ledger.process import LedgerProcess, own_url
from ledger.rpc import Rpc
from ledger.tip import TipStatement
from ledger.witness import KIND, BlockStatement, Votes, Witness
from twinward import canonical
from twinward.clock import Clock
from twinward.errors import (
    EXIT_UNREACHABLE,
    ConsentError,
    TwinwardError,
    UsageError,
)
from twinward.founding import Founding
from twinward.logging import log
from twinward.organisation import Organisation
from twinward.reach import Reach
from twinward.rpc.messages_pb2 import Blob
from twinward.rpc.messages_pb2_grpc import NetworkStub
from twinward.rpc.reloading import ReloadingChannel
from twinward.rpc.replies import refusal_of
from twinward.rpc.tls import TlsFiles
from twinward.signing import Document, Identity
from twinward.ticking import Ticking

if TYPE_CHECKING:
    from hospital_node.node import Node

_TICK_SECONDS = 0.5
_TIPS_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Standing:
    """What this witness knows.

    Attributes:
        block: The last block that it signed; None before the first.
        agreed: Height of the newest block that enough hospitals co-signed, and when it was seen,
            Unix seconds.
        witnesses: How many hospitals co-signed that block.
        trouble: What is wrong; silence of ledger or coordinator does not speak against them.
    """

    block: int | None = None
    agreed: tuple[int, float] | None = None
    witnesses: int = 0
    trouble: TwinwardError | None = None


class WitnessThread(Ticking):
    """The hospital's own ledger node, and the thread that signs for it."""

    def __init__(
        self,
        paths: NodePaths,
        *,
        tls: TlsFiles,
        founding: Founding,
        identity: Identity,
        channel: grpc.Channel,
        egress: Egress,
        clock: Clock,
        quorum: int,
        max_age_seconds: float,
    ) -> None:
        """Prepare it; nothing runs until `start`.

        Args:
            paths: Where the copy of the chain and the record of votes are kept.
            tls: What the own node shows to the one that it follows, and whom it trusts.
            founding: Names chain, coordinator and the other witnesses.
            identity: Signs.
            channel: To the coordinator.
            egress: Notes each co-signature that leaves.
            clock: Unix seconds.
            quorum: Co-signatures, this hospital's included, without which no tip is believed; 0
                asks for none.
            max_age_seconds: How long an agreement lasts.
        """
        super().__init__("witnessing", every_seconds=_TICK_SECONDS, code="TW3561")
        self._founding = founding
        self._genesis = bytes.fromhex(str(founding.chain["genesis_hash"]))
        self._channel = channel
        self._network = NetworkStub(channel)
        self._egress = egress
        self._clock = clock
        self._quorum = quorum
        self._max_age = max_age_seconds
        self._votes = Votes(paths.votes)
        self._witness = Witness(
            self._votes,
            identity=identity,
            genesis=self._genesis,
            coordinator=founding.coordinator.identity,
        )
        self._checkpoints = CheckpointWitness(
            paths,
            founding=founding,
            identity=identity,
            network=self._network,
            egress=egress,
            clock=clock,
        )
        self._node = LedgerProcess(
            paths.ledger,
            genesis=dict(founding.chain["genesis"]),
            host="127.0.0.1",
            port=0,
            options=_upstream(founding, tls, Reach.of(paths.folder)),
            on_restart=lambda status: log().warning(
                "the following ledger node ended and is started again", exit_status=status
            ),
        )
        self._own: Rpc | None = None
        self._tips: deque[tuple[int, float]] = deque(maxlen=_TIPS_REMEMBERED)
        self.standing = Standing()

    @classmethod
    def of(cls, node: Node) -> WitnessThread | None:
        """The witness of a hospital's node, with a channel of its own to the coordinator.

        None if the site wants none, or if the ledger is kept by others: only the embedded node's
        blocks can be executed again here.

        Raises:
            UsageError: TW3506, the site asks for co-signatures that nobody can make.
        """
        if node.founding.is_ledger_outside and node.settings.witness_quorum:
            raise UsageError(
                "this network's ledger is kept outside, so that no hospital can execute its blocks",
                code="TW3506",
                at=str(node.folder / FILE),
                help="set `witness_quorum = 0`; what vouches for the ledger is its own consensus",
            )
        if node.founding.is_ledger_outside or not node.settings.witness:
            return None
        return cls(
            NodePaths(node.folder),
            tls=Organisation(node.folder).tls,
            founding=node.founding,
            identity=node.identity,
            channel=ReloadingChannel(
                node.founding.endpoints["network"],
                tls=Organisation(node.folder).tls,
                options=Reach.of(node.folder).channel_options(),
            ),
            egress=node.egress,
            clock=node.clock,
            quorum=node.settings.witness_quorum,
            max_age_seconds=node.settings.mirror_max_age_seconds,
        )

    def start(self) -> None:
        """Start node and thread; returns at once."""
        self._node.begin()
        super().start()

    def stop(self) -> None:
        """End thread and node; everything they had is durable."""
        super().stop()
        self._node.stop()
        if self._own is not None:
            self._own.close()
        self._votes.close()
        self._channel.close()

    def require(self) -> None:
        """Require that nothing here speaks against the ledger, and that enough witnesses agree.

        Raises:
            TwinwardError: What speaks against it.
            ConsentError: TW3560, fewer co-signatures than this site asks for, or too old.
        """
        standing = self.standing
        if standing.trouble is not None and not _is_silence(standing.trouble):
            raise standing.trouble
        if self._quorum == 0:
            return
        age = None if standing.agreed is None else self._clock.now() - standing.agreed[1]
        if age is None or age > self._max_age:
            raise ConsentError(
                f"fewer than {self._quorum} hospitals co-signed the ledger's newest block in the"
                f" last {self._max_age:.0f} s",
                code="TW3560",
                help="wait for the other hospitals' nodes; `witness_quorum` in node.toml says how"
                " many this site asks for",
            )

    def as_json(self) -> dict[str, Any]:
        """For the hospital's own staff."""
        standing = self.standing
        trouble = standing.trouble
        return {
            "block": standing.block,
            "agreed_block": None if standing.agreed is None else standing.agreed[0],
            "trouble": None if trouble is None else trouble.diagnostic.as_json(),
        }

    def failed(self, error: TwinwardError) -> None:
        """Keep it, so that nobody's data is used meanwhile; in the log once for each kind."""
        last = self.standing.trouble
        self.standing = replace(self.standing, trouble=error)
        if last is None or last.code != error.code:
            log().warning("witness trouble", code=error.code, reason=error.diagnostic.message)

    def tick(self) -> None:
        """Look once at what was executed here, and what others say of it."""
        own = self._own_node()
        if own is None:
            return  # it is starting
        self._checkpoints.require()
        tip = fetch_tip(self._network)
        signed = self._witness.attest(own, tip)
        if not signed:
            return
        newest = BlockStatement.read(signed[-1]).number
        if newest != self.standing.block:
            size = sum(len(one.encode()) for one in signed)
            self._egress.let_out("ledger", "co-signature", to="coordinator", size=size)
        agreed = self._exchange(signed)
        self.standing = replace(self.standing, block=newest, trouble=None)
        statement = TipStatement.read(tip)
        self._tips.append((statement.number, statement.time))
        if agreed is not None:
            self._believe(agreed, newest=newest)
        self._checkpoints.tick(own)

    def _own_node(self) -> Rpc | None:
        url = self._node.url
        if self._own is None or self._own.url != url:
            if self._own is not None:
                self._own.close()
            self._own = Rpc(url, timeout=CALL_SECONDS) if url else None
        return self._own

    def _exchange(self, signed: list[Document]) -> Document | None:
        """Bring co-signatures; the newest block that enough hospitals co-signed."""
        request = {"quorum": max(1, self._quorum), "blocks": [as_json(one) for one in signed]}
        body = Blob(data=canonical.encode(request))
        try:
            answer = self._network.Witness(body, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            raise refusal_of(error, otherwise=coordinator_silent()) from error
        block = dict(canonical.decode(answer.data, at="co-signatures")).get("block")
        if block is None:
            return None
        return Document.decode(canonical.encode(block), kind=KIND, at="co-signatures")

    def _believe(self, agreed: Document, *, newest: int) -> None:
        """Count the co-signatures that verify, over a block that this hospital signed too."""
        statement = BlockStatement.read(agreed)
        if statement.number > newest:
            return  # our own node is not there yet
        self._votes.require(statement.number, statement.hash)
        signers = {member.fingerprint: member.identity for member in self._founding.hospitals}
        for by, signature in agreed.signatures:
            if by in signers:
                signers[by].verify(agreed.kind, agreed.message, signature)
        count = sum(by in signers for by, _ in agreed.signatures)
        if statement.genesis != self._genesis or count < max(1, self._quorum):
            return
        # It is as fresh as the last tip that knew of no block after this one.
        times = [time for number, time in self._tips if number <= statement.number]
        if times:
            agreed_at = (statement.number, max(times))
            self.standing = replace(self.standing, agreed=agreed_at, witnesses=count)


def _upstream(founding: Founding, tls: TlsFiles, reach: Reach) -> tuple[str, ...]:
    url = founding.endpoints["ledger"]
    if not url.startswith("https:"):
        return ("--follow", url)
    return (
        *("--follow", url, "--upstream-ca", str(tls.ca.resolve())),
        *("--upstream-certificate", str(tls.certificate.resolve())),
        *("--upstream-key", str(tls.key.resolve())),
        *(() if reach.proxy is None else ("--upstream-proxy", reach.proxy)),
    )


def statements(folder: Path) -> Statements:
    """What the witness of a node's folder was shown; its daemon must be running.

    Raises:
        UsageError: TW3566, it is not running.
    """
    paths = NodePaths(folder)
    with closing(Votes(paths.votes)) as votes, closing(Rpc(own_url(paths.ledger))) as own:
        return Statements.collect(votes, own)


def _is_silence(trouble: TwinwardError) -> bool:
    return trouble.diagnostic.exit_status == EXIT_UNREACHABLE
