"""Brings grants and withdrawals to the ledger: crash-safe, idempotent, withdrawals on their own.

The queues are rows of the vault, written in the same transaction as what they carry. Grants go in
shuffled batches, so that their order on the ledger says nothing about patients, and what one
patient answers in one visit is spread over time (`consent.spread`). Withdrawals have a queue and a
call of their own, so that no stuck grant can hold one back, and are never given up.

Dying between the ledger's acceptance and our note of it: the next push finds the ledger's slot
as the item would make it and only writes the note. The name of an item is its digest.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from consent.kept import KeptGrant, State
from consent.policy import Slot, on_ledger
from consent.record import Grant, Withdrawal
from consent.spread import Spread
from consent.vault import Vault
from consent.withdrawals import KeptWithdrawal, Withdrawals
from twinward.errors import ConsentError, LedgerError, LedgerUnreachable

if TYPE_CHECKING:
    from ledger.chain import Chain
    from ledger.mirror import Mirror

Outcome = tuple[bytes, str | None]
"""Digest of an item, and why the contract skipped it; None if it took it."""
BATCH = 100
"""Grants in one transaction: 3.6 million gas."""
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Ledger:
    """How the relay reaches the ledger; each call returns when a block holds the result.

    Attributes:
        grants: Relays a batch and tells each item's outcome.
        withdrawal: Relays one signed withdrawal; raises `LedgerError` when it reverts.
        attestation: States a withdrawal without key for (study, subject); raises as well.
        slot: What the local mirror says of (study, subject), synchronised before each push.
        chain_time: Time of the newest block that this hospital trusts, Unix seconds.
    """

    grants: Callable[[Sequence[tuple[Grant, bytes]]], Sequence[Outcome]]
    withdrawal: Callable[[Withdrawal, bytes], object]
    attestation: Callable[[bytes, bytes], object]
    slot: Callable[[bytes, bytes], Slot | None]
    chain_time: Callable[[], float]

    @classmethod
    def of(cls, chain: Chain, mirror: Mirror, *, chain_time: Callable[[], float]) -> Ledger:
        """The real one: a connection that may write as this hospital, and its mirror."""
        return cls(
            grants=lambda items: chain.relay_grants(
                [(grant.as_tuple(), signature) for grant, signature in items]
            ),
            withdrawal=lambda withdrawal, signature: chain.relay_withdrawal(
                withdrawal.as_tuple(), signature
            ),
            attestation=chain.attest_withdrawal,
            slot=mirror.slot,
            chain_time=chain_time,
        )


@dataclass(frozen=True, slots=True)
class Pushed:
    """What one push did. ``problems`` are digest and reason: show them to the hospital's staff."""

    done: int = 0
    problems: tuple[tuple[bytes, str], ...] = field(default=())


class Relay:
    """The two queues of one hospital. One push at a time."""

    def __init__(
        self, vault: Vault, ledger: Ledger, *, shuffle: random.Random, spread: Spread | None = None
    ) -> None:
        """Queues of this vault; without a ``spread`` everything goes as soon as it can."""
        self._vault = vault
        self._withdrawals = Withdrawals(vault)
        self._ledger = ledger
        self._shuffle = shuffle
        self._spread = spread
        self._one_at_a_time = threading.Lock()

    def push_withdrawals(self) -> Pushed:
        """Bring every waiting withdrawal to the ledger; each failure leaves the others going.

        Raises:
            LedgerUnreachable: TW5001; whatever was not brought keeps waiting.
        """
        done, problems = 0, []
        with self._one_at_a_time:
            for kept in self._withdrawals.waiting():
                if not self._due("withdrawals", kept.digest):
                    continue
                try:
                    finished = self._bring(kept)
                except LedgerUnreachable:
                    raise
                except LedgerError as error:
                    problems.append((kept.digest, str(error)))
                    self._withdrawals.note(kept.digest, State.WAITING, reason=str(error))
                    continue
                if finished:
                    done += 1
                    self._withdrawals.note(kept.digest, State.ON_LEDGER, reason=None)
        return Pushed(done, tuple(problems))

    def push_grants(self, *, batch: int = BATCH) -> Pushed:
        """Bring one shuffled batch of waiting grants to the ledger.

        A grant whose subject has a withdrawal on its way waits behind it.

        Raises:
            LedgerUnreachable: TW5001; the batch keeps waiting.
            ConsentError: TW3050, the ledger answered about other grants than it was given.
        """
        with self._one_at_a_time:
            chosen = self._load(self._choose(batch))
            there = [kept.digest for kept in chosen if self._is_there(kept)]
            absent = [kept for kept in chosen if kept.digest not in there]
            outcomes = [(digest, None) for digest in there] + self._submit(absent)
            self._vault.note(
                (digest, State.SKIPPED if reason else State.ON_LEDGER, reason)
                for digest, reason in outcomes
            )
        skipped = tuple((digest, reason) for digest, reason in outcomes if reason)
        return Pushed(len(outcomes) - len(skipped), skipped)

    def _choose(self, batch: int) -> list[bytes]:
        """Digests of grants that may go now, in no order of patients or arrival.

        Digests are hashes: those that follow a random place are as good as drawn one by one, and
        finding them costs the same whether a hundred wait or a million.
        """
        place, chosen = self._shuffle.randbytes(32), list[bytes]()
        for first, stop in ((place, b""), (b"", place)):
            while len(chosen) < batch:
                page = self._vault.ready_for_ledger(_PAGE, first=first)
                here = [digest for digest in page if not stop or digest < stop]
                chosen += [digest for digest in here if self._due("grants", digest)]
                if len(here) < _PAGE:
                    break
                first = here[-1] + b"\0"  # noqa: PLW2901 - goes on after the page
        chosen = chosen[:batch]
        self._shuffle.shuffle(chosen)
        return chosen

    def _due(self, table: str, digest: bytes) -> bool:
        return self._spread is None or self._spread.due(table, digest)

    def problems(self) -> list[tuple[bytes, str]]:
        """Everything that the ledger refused and still does not show: digest and reason."""
        grants = [
            (kept.digest, kept.reason or "")
            for kept in self._vault.in_state(State.SKIPPED)
            if not self._is_there(kept)
        ]
        withdrawals = [
            (kept.digest, kept.reason) for kept in self._withdrawals.waiting() if kept.reason
        ]
        return grants + withdrawals

    def _load(self, digests: Sequence[bytes]) -> list[KeptGrant]:
        return [kept for digest in digests if (kept := self._vault.by_digest(digest))]

    def _submit(self, grants: Sequence[KeptGrant]) -> list[Outcome]:
        if not grants:
            return []
        outcomes = list(self._ledger.grants([(kept.grant, kept.signature) for kept in grants]))
        if sorted(digest for digest, _ in outcomes) != sorted(kept.digest for kept in grants):
            raise ConsentError(
                "the ledger did not answer for each grant that it was given",
                code="TW3050",
                help="nothing is lost; check the ledger's address and version, then retry",
            )
        return outcomes

    def _is_there(self, kept: KeptGrant) -> bool:
        slot = self._ledger.slot(kept.study, kept.subject)
        return slot is not None and on_ledger(kept.grant, kept.digest, slot)

    def _bring(self, kept: KeptWithdrawal) -> bool:
        """Whether the ledger can no longer show what this withdrawal ends."""
        assert kept.subject is not None  # noqa: S101 - without a subject nothing waits
        slot = self._ledger.slot(kept.study, kept.subject)
        if kept.withdrawal is not None and kept.signature is not None:
            if slot is None or slot.nonce <= kept.withdrawal.nonce:
                self._ledger.withdrawal(kept.withdrawal, kept.signature)
            return True
        if slot is not None and slot.purposes:
            self._ledger.attestation(kept.study, kept.subject)
            return True
        # Nothing is there to attest against. Keep watching while a grant could still arrive.
        grants = self._vault.all_of(kept.study, kept.subject)
        return all(
            (slot is not None and slot.nonce > one.grant.nonce)
            or self._ledger.chain_time() > one.grant.submit_by
            for one in grants
        )
