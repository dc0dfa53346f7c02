"""The audit log of one organisation: enter, open, erase, and bring its head to the ledger.

What is brought is the root of a second, small log, with one entry per tick that commits to a
checkpoint of the first. So how many entries there are, which tells how many patients were used,
stays here; and the contract's check that the second log only grows holds the first one too.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ledger.audit import fhir
from ledger.audit.bodies import Bodies
from ledger.log import checkpoint
from ledger.log.check import Problem, problems
from ledger.log.entry import Draft, read
from ledger.log.store import Log
from ledger.verify import Checkpoint, Note
from twinward import canonical
from twinward.clock import Clock
from twinward.errors import EvidenceError, LedgerError, TwinwardError
from twinward.files import write_atomic
from twinward.signing import Identity

EVIDENCE = "anchored.json"
_ENTERED_AT_ONCE = 2_000
_MISSED_FACTOR, _MISSED_SECONDS = 3.0, 3600.0


@dataclass(frozen=True, slots=True)
class Happened:
    """Something to enter.

    Attributes:
        kind: One word; also a topic, ``kind:WORD``.
        body: The FHIR AuditEvent, of ``ledger.audit.fhir``.
        about: More topics, none of them personal: ``run:HEX``, ``study:HEX``.
        whom: The hospital's number of the one patient it is about, or the `person`; only key and
            body know it.
    """

    kind: str
    body: Mapping[str, Any]
    about: tuple[str, ...] = ()
    whom: str | None = None


class Anchor(Protocol):
    """What brings a head to the ledger: ``ledger.anchor`` for this organisation's account."""

    def anchored(self) -> tuple[int, bytes] | None:
        """Size and root that the ledger holds; None before the first."""
        ...

    def anchor(self, size: int, root: bytes, proof: Sequence[bytes]) -> None:
        """Bring a newer state, with the RFC 9162 proof that it continues the one that stands."""
        ...


@dataclass(frozen=True, slots=True)
class Lag:
    """What the ledger does not vouch for yet.

    Attributes:
        entries: How many entries came after the last head on the ledger.
        seconds: How old the oldest of them is; 0 if there are none.
    """

    entries: int
    seconds: float

    def is_long(self, *, every_seconds: float) -> bool:
        """Whether heads that go to the ledger this often should have covered them long ago."""
        return self.seconds > _MISSED_FACTOR * every_seconds + _MISSED_SECONDS


@dataclass(frozen=True, slots=True)
class Head:
    """A head on the ledger, opened: the checkpoint that it commits to.

    Attributes:
        note: The checkpoint, as it was signed then.
        index: Its number among the heads, from 0.
        leaf: Its entry.
        salt: Of the commitment.
        path: Inclusion proof among the heads on the ledger.
    """

    note: Note
    index: int
    leaf: bytes
    salt: bytes
    path: tuple[bytes, ...]

    @property
    def entries(self) -> int:
        """How many entries of the log it covers."""
        return Checkpoint.parse(self.note.text).size

    def record(self, *, block: Mapping[str, Any], proof: Mapping[str, Any]) -> bytes:
        """The record ``anchor.json`` of an answer as of this head's checkpoint.

        Args:
            block: Signed tip and header of a block, as in a pack's ``ledger.json``.
            proof: ``eth_getProof`` of the contract's two words for this organisation there.
        """
        return canonical.encode(
            {
                "block": dict(block),
                "checkpoint": self.note.encode().decode(),
                "index": self.index,
                "leaf": self.leaf.decode(),
                "path": [node.hex() for node in self.path],
                "proof": dict(proof),
                "salt": self.salt.hex(),
            }
        )


class AuditLog:
    """The log in one folder of four files. Thread-safe.

    Args:
        folder: ``audit.sqlite`` entries, ``heads.sqlite`` what goes to the ledger,
            ``bodies.sqlite`` and ``keys.sqlite`` what can be erased; ``anchored.json`` proves the
            newest head.
        org: Whose log.
        genesis: Genesis hash of the network's ledger.
        identity: Signs checkpoints.
        clock: Local time.
    """

    def __init__(
        self, folder: Path, *, org: str, genesis: bytes, identity: Identity, clock: Clock
    ) -> None:
        self.org = org
        self._folder = folder
        origin = checkpoint.audit_origin(genesis, org)
        self.log = Log(folder / "audit.sqlite", origin=origin)
        self.heads = Log(folder / "heads.sqlite", origin=f"{origin}/heads")
        self.bodies = Bodies(folder / "bodies.sqlite", folder / "keys.sqlite")
        self._identity = identity
        self._clock = clock
        self._anchoring = threading.Lock()

    def enter(self, events: Sequence[Happened]) -> range:
        """Write down what happened, durably, before it has consequences; returns the numbers.

        Bodies first: dying in between leaves bodies without an entry, which nobody sees.

        Raises:
            LedgerError: TW3601, TW3610, the files cannot be written: then it must not happen.
        """
        entered: list[range] = []
        for start in range(0, len(events), _ENTERED_AT_ONCE):
            some = events[start : start + _ENTERED_AT_ONCE]
            kept = self.bodies.keep([(event.whom, event.body) for event in some])
            now = int(self._clock.now())
            drafts = [
                Draft(
                    event.kind,
                    (f"kind:{event.kind}", *event.about, *([own.topic] if own.topic else ())),
                    now,
                    own.commitment,
                )
                for event, own in zip(some, kept, strict=True)
            ]
            entered.append(self.log.append(drafts))
        return range(entered[0].start, entered[-1].stop) if entered else range(0)

    def did(
        self, what: str, *, by: str, about: Sequence[str] = (), failure: str | None = None
    ) -> None:
        """Enter something that is about no single patient, before it has consequences.

        Args:
            what: One word.
            by: Who did it: ``urn:twinward:node:...``, ``urn:twinward:account:...``.
            about: What it is about, as topics: ``run:HEX``, ``digest:HEX``.
            failure: The code of the refusal, if it was refused.
        """
        body = fhir.activity(
            org=self.org, what=what, by=by, about=about, at=self._clock.now(), failure=failure
        )
        outcome = (f"outcome:{failure or 'done'}",)
        self.enter([Happened(what, body, (*dict.fromkeys(about), *outcome))])

    def body(self, seq: int) -> tuple[bytes, bytes] | None:
        """Salt and body of an entry, to open it to an auditor; None if it was erased."""
        return self.bodies.body(bytes.fromhex(read(self.log.leaf(seq))["commitment"]))

    def erase(self, patient: str) -> int:
        """Delete what links entries to a patient; returns how many bodies. Entries stay."""
        return self.bodies.erase(patient)

    def checkpoint(self) -> Note:
        """The present state, sealed and signed. Shown to auditors; not for the public."""
        state = checkpoint.checkpoint_of(self.log.origin, self.log.seal())
        return checkpoint.sign(state, self._identity)

    def require_sound(self, *, help: str) -> int:  # noqa: A002 - as in every refusal
        """Require that every row of its files is what its entries say; how many entries.

        Raises:
            EvidenceError: TW3613, it is not; the first row is named.
        """
        if found := self.check():
            first = found[0]
            raise EvidenceError(
                f"the audit log was changed from outside: {first.table} {first.key}: {first.what}",
                code="TW3613",
                at=str(self._folder),
                note=f"{len(found)} problems in all",
                help=help,
            )
        return self.log.size

    def check(self) -> list[Problem]:
        """Every row of the four files that does not follow from the entries; empty if none."""
        found = [
            *problems(self._folder / "audit.sqlite", origin=self.log.origin),
            *problems(self._folder / "heads.sqlite", origin=self.heads.origin),
        ]
        for seq in range(self.log.size):
            try:
                self.body(seq)
            except (LedgerError, ValueError, LookupError) as error:
                found.append(Problem("bodies", str(seq), str(error)))
        return found

    # Anchoring

    def tick(self, anchor: Anchor) -> int:
        """Bring a head to the ledger; returns how many heads stand there. Safe to repeat.

        Args:
            anchor: The ledger. Where it does not answer, the head waits for the next tick.

        Raises:
            LedgerError: TW3612, the ledger holds heads that these files do not: they were rolled
                back or replaced. TW5001, no answer.
        """
        with self._anchoring:
            stands = anchor.anchored()
            size, known = stands or (0, self.heads.root_at(0))
            if size > self.heads.size or self.heads.root_at(size) != known:
                raise LedgerError(
                    f"the ledger holds {size} heads of this audit log, and not the ones kept here",
                    code="TW3612",
                    at=self.log.origin,
                    help="the log was rolled back or replaced: restore its newest backup and tell"
                    " the auditor",
                )
            if self.heads.size == size:
                self._add_head()
            newest = self.heads.size
            proof = self.heads.consistency(size, newest)
            anchor.anchor(newest, self.heads.root_at(newest), proof)
            self.heads.seal()  # sealed heads are those that the ledger has
            return newest

    def _add_head(self) -> None:
        note = self.checkpoint().encode().decode()
        (kept,) = self.bodies.keep([(None, {"checkpoint": note})])
        now = int(self._clock.now())
        self.heads.append([Draft("audit-head", ("log:audit",), now, kept.commitment)])

    def lag(self) -> Lag:
        """How far the ledger is behind this log."""
        reached = self._anchored()
        waiting = self.log.size - reached
        if waiting <= 0:
            return Lag(0, 0.0)
        return Lag(waiting, max(0.0, self._clock.now() - read(self.log.leaf(reached))["time"]))

    def standing(self) -> dict[str, Any]:
        """How long the log is and how far the ledger is behind it, for a status."""
        lag = self.lag()
        return {
            "entries": self.log.size,
            "not_anchored": lag.entries,
            "oldest_not_anchored_seconds": round(lag.seconds),
        }

    def _anchored(self) -> int:
        """How many entries the newest head on the ledger covers."""
        head = self.head()
        return 0 if head is None else head.entries

    def keep_evidence(
        self, size: int, *, block: Mapping[str, Any], proof: Mapping[str, Any]
    ) -> None:
        """Keep what proves that the first ``size`` heads stand on the ledger, for `anchored`."""
        kept = canonical.encode({"block": block, "proof": proof, "size": size})
        write_atomic(self._folder / EVIDENCE, kept)

    def anchored(self) -> tuple[Head, bytes] | None:
        """The newest head that is proved to stand on the ledger, and its record ``anchor.json``.

        None where none is proved yet, or the state that it covers is too old to prove answers by.
        """
        try:
            kept = canonical.decode((self._folder / EVIDENCE).read_bytes())
            head = self.head(kept["size"])
        except (FileNotFoundError, ValueError, LookupError, TypeError, TwinwardError):
            return None  # an answer without an anchor says that it has none
        if head is None or not self.log.keeps(head.entries):
            return None
        return head, head.record(block=kept["block"], proof=kept["proof"])

    def head(self, size: int | None = None) -> Head | None:
        """The last of the first ``size`` heads, opened; None if it is not there.

        Args:
            size: All that the ledger has, if it is not given.
        """
        heads = self.heads.sealed(size)
        if heads is None or heads.size == 0:
            return None
        index = heads.size - 1
        leaf = self.heads.leaf(index)
        kept = self.bodies.body(bytes.fromhex(read(leaf)["commitment"]))
        if kept is None:
            return None
        salt, note = kept[0], str(json.loads(kept[1])["checkpoint"])
        path = self.heads.inclusion(index, size=heads.size)
        return Head(Note.parse(note.encode()), index, leaf, salt, tuple(path))

    def close(self) -> None:
        """Release the files."""
        self.log.close()
        self.heads.close()
        self.bodies.close()
