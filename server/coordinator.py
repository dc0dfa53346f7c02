"""What the coordinator knows and holds while it is up. It trains nothing and sees no update."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ledger.audit.log import AuditLog
from ledger.chain import Chain
from ledger.endpoint import Endpoint
from server.checkpoints import Checkpoints
from server.paths import ServerPaths
from server.settings import ServerSettings
from server.study_queue import StudyQueue
from server.witnesses import Witnesses
from twinward import __version__
from twinward.errors import LedgerError
from twinward.founding import Founding, Member
from twinward.ids import Fingerprint, OrgName
from twinward.plan import Plan
from twinward.signing import Document, Identity

if TYPE_CHECKING:
    from ledger.process import LedgerProcess
    from server.run import Run
    from server.secure_sum import SecureSumRun
    from server.supervise import SuperLink

_TIP_SECONDS = 0.2
_STATUS_SECONDS = 2.0
_SUMS_REMEMBERED = 8


@dataclass(slots=True)
class Coordinator:
    """One coordinator: identity, ledger account, SuperLink, and the run under way, if any."""

    paths: ServerPaths
    settings: ServerSettings
    founding: Founding
    identity: Identity
    chain: Chain
    superlink: SuperLink
    ledger: LedgerProcess | None
    """The embedded node; None if the network's ledger is kept elsewhere."""
    audit: AuditLog
    run: Run | None = None
    secure_sums: dict[bytes, SecureSumRun] = field(default_factory=dict)
    """Secure sums by id: ``remember``; the last few stay, to tell latecomers how it went."""
    seen: dict[Fingerprint, float] = field(default_factory=dict)
    """When each member was last let in with a call, Unix seconds; the gate keeps it."""
    forgotten: list[dict[str, Any]] = field(default_factory=list)
    """Runs that only the ledger knows, since a restore of the folder."""
    witnesses: Witnesses = field(init=False)
    checkpoints: Checkpoints = field(init=False)
    _tip: tuple[float, Document] | None = field(default=None)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        hospitals = {member.fingerprint: member.identity for member in self.founding.hospitals}
        self.witnesses = Witnesses(genesis=self.genesis, hospitals=hospitals)
        self.checkpoints = Checkpoints(self.paths.folder, founding=self.founding)

    def welcome(self, founding: Founding) -> None:
        """Know the network as it is now that a hospital joined it."""
        self.founding = founding
        self.witnesses.welcome({one.fingerprint: one.identity for one in founding.hospitals})
        self.checkpoints.welcome(founding)

    def did(self, what: str, *, about: Sequence[str] = ()) -> None:
        """Enter into the coordinator's own audit log what it is about to do.

        Raises:
            LedgerError: TW3601, TW3610, it cannot be entered: then it must not happen.
        """
        self.audit.did(what, by="urn:twinward:node:coordinator", about=about)

    def remember(self, name: bytes, session: SecureSumRun) -> None:
        """Let hospitals in to this secure sum; the last few that ended are still answered for."""
        self.secure_sums[name] = session
        while len(self.secure_sums) > _SUMS_REMEMBERED:
            del self.secure_sums[next(iter(self.secure_sums))]

    @property
    def genesis(self) -> bytes:
        """The hash that names the ledger."""
        return bytes.fromhex(str(self.founding.chain["genesis_hash"]))

    @property
    def endpoint(self) -> Endpoint:
        """How the coordinator itself reaches the ledger."""
        return Endpoint.of(self.founding, self.paths.folder)

    def hospitals_of(self, plan: Plan) -> dict[Fingerprint, Member]:
        """The hospitals that the plan names, by fingerprint."""
        members = (self.founding.member(site) for site in plan.sites)
        return {member.fingerprint: member for member in members}

    def name_of(self, fingerprint: Fingerprint) -> OrgName:
        """The short name behind a fingerprint."""
        return next(m.org for m in self.founding.members if m.fingerprint == fingerprint)

    def seen_seconds_ago(self, fingerprint: Fingerprint) -> int | None:
        """How long this member has not called; None if it never did."""
        seen = self.seen.get(fingerprint)
        return None if seen is None else max(0, round(time.time() - seen))

    async def status(self) -> dict[str, Any]:
        """Processes, members and the run under way, for the command line."""
        online = await asyncio.to_thread(self.superlink.online)
        return {
            "network": self.founding.network,
            "pid": os.getpid(),
            "release": __version__,
            "ledger": {
                "url": self.founding.endpoints["ledger"],
                "pid": None if self.ledger is None else self.ledger.pid,
                "block": await self._newest_block(),
                "witnesses": self.witnesses.present,
            },
            "audit": await asyncio.to_thread(self.audit.standing),
            "members": [
                {
                    "org": m.org,
                    "role": m.role,
                    "online": not m.is_hospital or m.org in online,
                    "seen_seconds_ago": self.seen_seconds_ago(m.fingerprint),
                }
                for m in self.founding.members
            ],
            "running": None if self.run is None else self.run.id,
            "progress": None if self.run is None else self.run.latest,
            "queue": await asyncio.to_thread(self._queue),
        }

    def _queue(self) -> dict[str, Any]:
        with closing(StudyQueue(self.paths.queue)) as queue:
            return queue.standing()

    async def _newest_block(self) -> int | None:
        """Its number; None while the ledger does not answer, which a status has to survive."""
        try:
            asked = asyncio.to_thread(self.chain.tip)
            return (await asyncio.wait_for(asked, _STATUS_SECONDS)).number
        except (TimeoutError, LedgerError):
            return None

    async def tip(self) -> Document:
        """A fresh signed statement of the newest block: what hospitals measure freshness by."""
        async with self._asking:  # one thread waits for a silent ledger, however many nodes ask
            if self._tip is None or time.monotonic() - self._tip[0] > _TIP_SECONDS:
                self._tip = (time.monotonic(), await asyncio.to_thread(self.sign_tip))
            return self._tip[1]

    def sign_tip(self) -> Document:
        """A signed statement of the block that is the newest at this moment."""
        statement = self.chain.tip().statement(genesis=self.genesis, now=time.time())
        return statement.signed_by(self.identity)
