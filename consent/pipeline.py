"""A withdrawal to its end: out of every coming step, on the ledger, models named, last word signed.

received -> excluded, with a receipt -> on the ledger -> complete. The first two need nobody; this
module goes on with what comes after, by looking at what the vault holds, so it may die anywhere
and the next look takes up what is missing.

What happens to a model that has the patient in it: it stays, and what it can say about the patient
is bounded by differential privacy (epsilon is in the last word); or its coordinator retired it, and
then there is a next revision that says so. A model that trained one shard of the patients can be
trained again without the patient, exactly, at the price of that shard: this is asked for on the
ledger, and the next revision names the run that took its place. Of a model of everybody retraining
is not offered: a whole new run would charge every other patient again.

Dying between the wish on the ledger and the entry in the audit log: the wish is there once, and
found. Between the entry and the last word: it is entered twice, with one kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from consent.completions import KIND, Completions, Used
from consent.kept import State
from consent.receipts import step_of
from consent.vault import Vault
from consent.withdrawals import KeptWithdrawal, Withdrawals
from twinward.clock import Clock
from twinward.ids import OrgName
from twinward.signing import Document, Identity

COMPLETE_WITHIN = 86_400
"""Seconds after the ledger's deadline in which the last word is due; the law gives a month."""
AT_ONCE = 25
"""Withdrawals that one call goes on with."""
_LOOK_FOR_RETIRED = 60.0


class Stage(StrEnum):
    """How far a withdrawal is; each includes those before."""

    RECEIVED = "received"
    EXCLUDED = "excluded"
    ON_LEDGER = "on-ledger"
    COMPLETE = "complete"


class Becomes(StrEnum):
    """What becomes of a release that has the patient in it."""

    BOUNDED = "bounded"
    RETIRED = "retired"
    RETRAINED = "retrained"


class Retraining(StrEnum):
    """Whether models are trained again without the patient."""

    NOT_OFFERED = "not-offered"
    WANTED = "wanted"
    REFUSED = "refused"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Progress:
    """One withdrawal with its clock; times in Unix seconds."""

    kept: KeptWithdrawal
    stage: Stage
    used: tuple[Used, ...] | None
    completion: Document | None
    due: int | None
    """When the next stage has to be reached; None once it is complete."""

    def seconds_left(self, now: float) -> float | None:
        """Until it is late; negative when it is."""
        return None if self.due is None else self.due - now


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the pipeline needs to know.

    Attributes:
        hospital: Whose patients.
        identity: Signs last words.
        clock: Local time.
        used: Which releases a patient was charged for; only this hospital knows.
        retired: Whether the ledger shows that the model of this run is retired; may raise.
        ask_again: Marks on the ledger that the shard of this run is to be trained again, once;
            whether the ledger takes it; may raise.
        successor: The run that took the place of this one on the ledger, if this hospital knows
            that the patient had no part in it; may raise.
        entered: Enters a last word in the audit log, whose head goes to the ledger, before it is
            kept.
    """

    hospital: OrgName
    identity: Identity
    clock: Clock
    used: Callable[[KeptWithdrawal], Sequence[Used]]
    retired: Callable[[bytes], bool]
    ask_again: Callable[[bytes], bool]
    successor: Callable[[KeptWithdrawal, Used], str | None]
    entered: Callable[[Document], None]


class Pipeline:
    """Takes every withdrawal of one hospital to its end. For one thread."""

    def __init__(self, vault: Vault, completions: Completions, around: Surroundings) -> None:
        self._vault, self._withdrawals = vault, Withdrawals(vault)
        self._completions = completions
        self._around = around
        self._seen = 0
        self._open: list[bytes] | None = None
        self._listed = set[bytes]()
        self._bounded: dict[str, set[bytes]] = {}
        self._next_look = 0.0

    def advance(self) -> int:
        """Go on with withdrawals as far as they can, some at a time; how many became complete.

        Some, because whoever calls this has more to do: a thousand at once would keep the ledger
        from being followed, and then nobody's data could be used.

        Raises:
            LedgerError: TW5001; what is not complete stays so until the next call.
        """
        done, left, waiting = 0, AT_ONCE, self._waiting()
        for digest in self._not_complete():
            if not left:
                return done
            if digest in waiting and digest in self._listed:
                continue
            kept = self._withdrawals.by_digest(digest)
            if kept is None:
                continue
            used = self._completions.used(digest)
            if used is None:
                used = tuple(self._around.used(kept))
                self._completions.note_used(digest, used)
                left -= 1
            self._listed.add(digest)
            if kept.state is not State.WAITING:
                self._complete(kept, used, revision=1)
                done, left = done + 1, max(0, left - 1)
        self._look_for_retired(left)
        return done

    def _waiting(self) -> set[bytes]:
        """Digests of those that the ledger does not show yet; one question for all of them."""
        rows = self._vault.store.rows(
            "select digest from withdrawals where state = ?", (State.WAITING,)
        )
        return {digest for (digest,) in rows}

    def _not_complete(self) -> list[bytes]:
        """Digests, oldest first; from the second call on it costs what is new."""
        if self._open is None:
            complete = self._completions.completed()
            self._open = []
            for document in self._completions.all_newest():
                self._remember(document)
        else:
            complete = set()
        for seq, digest in _after(self._vault, self._seen):
            self._seen = seq
            if digest not in complete:
                self._open.append(digest)
        return list(self._open)

    def _complete(self, kept: KeptWithdrawal, used: Sequence[Used], *, revision: int) -> None:
        models = [self._model(kept, one) for one in used]
        document = Document(
            KIND,
            {
                "hospital": self._around.hospital,
                "withdrawal": kept.digest.hex(),
                "study": kept.study.hex(),
                "subject": None if kept.subject is None else kept.subject.hex(),
                "received_at": kept.received_at,
                "excluded_from_step": step_of(kept.receipt),
                "on_chain_by": kept.on_chain_by,
                "on_ledger": kept.state is State.ON_LEDGER,
                "models": models,
                "retraining": self._retraining(models).value,
                "completed_at": int(self._around.clock.now()),
                "revision": revision,
            },
        ).signed_by(self._around.identity)
        self._around.entered(document)
        self._completions.keep(document)
        self._remember(document)
        if self._open and kept.digest in self._open:
            self._open.remove(kept.digest)
            self._listed.discard(kept.digest)

    def _model(self, kept: KeptWithdrawal, used: Used) -> dict[str, Any]:
        becomes, successor = Becomes.BOUNDED, None
        if used.trains and self._around.retired(bytes.fromhex(used.run)):
            successor = None if used.shard is None else self._around.successor(kept, used)
            becomes = Becomes.RETIRED if successor is None else Becomes.RETRAINED
        return {
            "run": used.run,
            "study": used.study,
            "trains": used.trains,
            "epsilon": used.epsilon,
            "delta": used.delta,
            "becomes": becomes.value,
            **({} if used.shard is None else {"shard": used.shard}),
            **({} if successor is None else {"successor": successor}),
        }

    def _retraining(self, models: Sequence[Mapping[str, Any]]) -> Retraining:
        """How it stands with the models of shards; asks for those that still have the patient."""
        of_shards = [model for model in models if model["trains"] and "shard" in model]
        bounded = [model["run"] for model in of_shards if model["becomes"] == Becomes.BOUNDED]
        if not of_shards:
            return Retraining.NOT_OFFERED
        taken = [self._around.ask_again(bytes.fromhex(run)) for run in bounded]
        if not all(taken):
            return Retraining.REFUSED
        done = any(model["becomes"] == Becomes.RETRAINED for model in of_shards)
        return Retraining.DONE if done and not bounded else Retraining.WANTED

    def _remember(self, document: Document) -> None:
        """Which models a later retirement would be news about."""
        digest = bytes.fromhex(str(document.payload["withdrawal"]))
        for model in document.payload["models"]:
            if model["trains"] and model["becomes"] == Becomes.BOUNDED:
                self._bounded.setdefault(model["run"], set()).add(digest)

    def _look_for_retired(self, left: int) -> None:
        """A next revision for everyone in a model that was retired meanwhile; once a minute."""
        now = self._around.clock.now()
        if now < self._next_look:
            return
        for run in [one for one in self._bounded if self._around.retired(bytes.fromhex(one))]:
            waiting = sorted(self._bounded[run])
            for digest in waiting[:left]:
                kept, last = self._withdrawals.by_digest(digest), self._completions.newest(digest)
                used = self._completions.used(digest)
                if kept is not None and last is not None and used is not None:
                    self._complete(kept, used, revision=int(last.payload["revision"]) + 1)
                self._bounded[run].discard(digest)
            if len(waiting) > left:
                return  # the rest at the next call
            del self._bounded[run]
            left -= len(waiting)
        self._next_look = now + _LOOK_FOR_RETIRED


def progress(vault: Vault, completions: Completions) -> Iterator[Progress]:
    """Every withdrawal and how far it is, oldest first; asks neither daemon nor ledger."""
    withdrawals = Withdrawals(vault)
    for _, digest in _after(vault, 0):
        kept = withdrawals.by_digest(digest)
        if kept is not None:
            yield of(kept, completions)


def of(kept: KeptWithdrawal, completions: Completions) -> Progress:
    """How far one withdrawal is."""
    completion = completions.newest(kept.digest)
    if completion is not None:
        stage, due = Stage.COMPLETE, None
    elif kept.state is not State.WAITING:
        stage, due = Stage.ON_LEDGER, kept.on_chain_by + COMPLETE_WITHIN
    else:
        stage = Stage.RECEIVED if kept.receipt is None else Stage.EXCLUDED
        due = kept.on_chain_by
    return Progress(kept, stage, completions.used(kept.digest), completion, due)


def _after(vault: Vault, number: int) -> list[tuple[int, bytes]]:
    """Number and digest of the withdrawals that came after this number, oldest first."""
    rows = vault.store.rows(
        "select seq, digest from withdrawals where seq > ? order by seq", (number,)
    )
    return [(seq, digest) for seq, digest in rows]
