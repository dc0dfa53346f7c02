"""Follows the ledger in the background: keeps the mirror confirmed and brings consents there.

A thread of its own, never in the hot path of a step. What a step reads is the last confirmation;
when that is too old or was refused, there is no cohort and nobody's data is used.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from consent.relay import Relay
from ledger.mirror import Mirror
from ledger.tip import KIND as TIP_KIND
from ledger.tip import TipStatement
from twinward.clock import Clock
from twinward.errors import (
    EXIT_UNREACHABLE,
    ConsentError,
    CoordinatorUnreachable,
    InternalError,
    TwinwardError,
)
from twinward.logging import log
from twinward.rpc.messages_pb2 import Nothing
from twinward.rpc.messages_pb2_grpc import NetworkStub
from twinward.rpc.replies import refusal_of
from twinward.signing import Document, PublicIdentity

_TICK_SECONDS = 0.5
CALL_SECONDS = 5.0
_STOP_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Standing:
    """The last confirmation, and what is wrong since, if anything is.

    ``holds`` is false when the trouble speaks against the mirror itself. Silence of ledger or
    coordinator does not: then the last confirmation serves until it is too old.
    """

    confirmed: TipStatement | None = None
    trouble: TwinwardError | None = None
    holds: bool = True


class Follower:
    """Confirms the mirror twice a second and pushes what waits for the ledger."""

    def __init__(
        self,
        mirror: Mirror,
        relay: Relay,
        *,
        channel: grpc.Channel,
        coordinator: PublicIdentity,
        clock: Clock,
        max_age_seconds: float,
    ) -> None:
        self._mirror = mirror
        self._relay = relay
        self._network = NetworkStub(channel)
        self._coordinator = coordinator
        self._clock = clock
        self._max_age = max_age_seconds
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="ledger-follower", daemon=True)
        self._also: Callable[[], None] = lambda: None
        self._then: Callable[[], object] = lambda: None
        self._then_trouble: str | None = None
        self.standing = Standing()

    def also_require(self, condition: Callable[[], None]) -> None:
        """Call this before every confirmation is believed; what it raises refuses the cohort."""
        self._also = condition

    def then(self, task: Callable[[], object]) -> None:
        """Do this after each tick; its trouble is logged and speaks against no confirmation."""
        self._then = task

    def start(self) -> None:
        """Begin following."""
        self._thread.start()

    def stop(self) -> None:
        """End after the tick under way; what waits for the ledger keeps waiting, on disk.

        A tick that hangs on a silent ledger is not waited for: it has nothing that could be lost.
        """
        self._ended.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def changed(self) -> None:
        """Something new waits for the ledger: do not sleep until the next tick."""
        self._wake.set()

    def confirm(self) -> float:
        """Require a fresh and complete mirror; returns the time that was confirmed.

        Raises:
            ConsentError: TW3102 the mirror is not what the ledger holds, TW3103 nothing was
                confirmed yet, TW3104 the confirmation is too old.
            TwinwardError: Whatever else speaks against the mirror or the ledger, at once.
        """
        self._also()
        standing = self.standing
        if standing.trouble is not None and not standing.holds:
            raise standing.trouble
        cause = None if standing.trouble is None else standing.trouble.diagnostic.message
        if standing.confirmed is None:
            raise ConsentError(
                "the record of consents has not been confirmed since this node started",
                code="TW3103",
                note=cause,
                help="wait a few seconds; if it stays, check ledger and coordinator",
            )
        age = self._clock.now() - standing.confirmed.time
        if age > self._max_age:
            raise ConsentError(
                f"the record of consents was last confirmed {age:.0f} s ago; this site's limit is "
                f"{self._max_age:.0f} s",
                code="TW3104",
                note=cause,
                help="bring the ledger and the coordinator back; withdrawals work meanwhile",
            )
        return standing.confirmed.time

    def tip(self) -> Document:
        """The coordinator's signed statement of the newest block; unchecked.

        Raises:
            CoordinatorUnreachable: TW6001.
        """
        return fetch_tip(self._network)

    def chain_time(self) -> float:
        """The ledger's clock as far as it was confirmed; 0 before that."""
        confirmed = self.standing.confirmed
        return 0.0 if confirmed is None else confirmed.time

    def _follow(self) -> None:
        while not self._ended.is_set():
            self._wake.clear()
            self._tick()
            self._do_the_rest()
            self._wake.wait(_TICK_SECONDS)

    def _do_the_rest(self) -> None:
        trouble = self._trouble_of(self._then)
        code = None if trouble is None else trouble.code
        if trouble is not None and code != self._then_trouble:
            log().warning("withdrawals wait", code=code, reason=trouble.diagnostic.message)
        self._then_trouble = code

    def _tick(self) -> None:
        """Confirm, then relay; neither ends the thread. Grants wait for a confirmed mirror."""
        last = self.standing
        trouble = self._trouble_of(self._confirm)
        if trouble is not None:
            # Silence is excused; what contradicts the mirror counts until it confirms again.
            silent = trouble.diagnostic.exit_status == EXIT_UNREACHABLE
            self.standing = Standing(last.confirmed, trouble, holds=silent and last.holds)
            self._trouble_of(self._relay.push_withdrawals)
        else:
            trouble = self._trouble_of(self._relay_what_waits)
            self.standing = Standing(self.standing.confirmed, trouble)
        if trouble is not None and (last.trouble is None or last.trouble.code != trouble.code):
            log().warning("ledger trouble", code=trouble.code, reason=trouble.diagnostic.message)

    def _confirm(self) -> None:
        confirmed = self._mirror.check(
            self.tip(),
            signer=self._coordinator,
            now=self._clock.now(),
            max_age_seconds=self._max_age,
        )
        self.standing = Standing(confirmed)

    def _relay_what_waits(self) -> None:
        # Withdrawals first: no grant may ever hold one back.
        self._relay.push_withdrawals()
        while not self._ended.is_set() and self._relay.push_grants().done:
            self._relay.push_withdrawals()

    @staticmethod
    def _trouble_of(task: Callable[[], object]) -> TwinwardError | None:
        try:
            task()
        except TwinwardError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a thread that dies silently helps nobody
            return InternalError(
                f"following the ledger met an unexpected {type(error).__name__}",
                code="TW6300",
                note=str(error)[:300],
                help="nobody's data is used meanwhile; check disk space and the files in `state`, "
                "then report it",
            )
        return None


def fetch_tip(network: NetworkStub) -> Document:
    """The coordinator's statement of the newest block; its signature is the caller's to check.

    Raises:
        CoordinatorUnreachable: TW6001.
        UsageError: TW1011, TW1012, what came is none.
    """
    try:
        blob = network.Tip(Nothing(), timeout=CALL_SECONDS)
    except grpc.RpcError as error:
        raise refusal_of(error, otherwise=coordinator_silent()) from error
    return Document.decode(blob.data, kind=TIP_KIND, at="tip")


def coordinator_silent() -> CoordinatorUnreachable:
    """The one error for a coordinator that does not answer."""
    return CoordinatorUnreachable(
        "the coordinator does not answer",
        code="TW6001",
        help="is it up, and is its address in the founding file right?",
    )
