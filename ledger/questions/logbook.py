"""An organisation's audit log as questions read it: proven entries, opened or not.

At the organisation itself the log lies in ``state/audit`` of its folder; an auditor is given a
copy: one archive with every entry, which `ledger.verify` proves to be the whole log. Bodies that
are about a patient hold the hospital's own number of that patient; they are opened on request.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger import verify
from ledger.audit.bodies import PEOPLE
from ledger.audit.log import AuditLog
from ledger.log import answer as archives
from ledger.log.entry import read
from twinward.clock import Clock
from twinward.errors import UsageError
from twinward.founding import Founding
from twinward.organisation import Organisation

_ADDRESS = "2"  # FHIR: the network address of an agent is an IP address
_PEOPLE = tuple(f"{family}:" for family in PEOPLE)


@dataclass(frozen=True, slots=True)
class Logged:
    """One entry.

    Attributes:
        seq: Its number in the log, from 0.
        time: When it was entered, Unix seconds of that organisation's clock.
        kind: What happened, one word.
        topics: Names ``family:name``.
        body: The FHIR AuditEvent; None if it was erased or is not shown.
    """

    seq: int
    time: int
    kind: str
    topics: tuple[str, ...]
    body: Mapping[str, Any] | None

    def about(self, family: str) -> str:
        """The name of its first topic of this family; empty if there is none."""
        prefix = f"{family}:"
        return next((t.removeprefix(prefix) for t in self.topics if t.startswith(prefix)), "")

    @property
    def by(self) -> str | None:
        """Who did it, if the body is open."""
        if self.body is None:
            return None
        agents = self.body["agent"]
        asked = next((one for one in agents if one["requestor"]), agents[0])
        return str(asked["who"]["identifier"]["value"]).rpartition(":")[2]

    @property
    def address(self) -> str | None:
        """From which address, if the body is open and says it."""
        agents = () if self.body is None else self.body["agent"]
        places = (one["network"] for one in agents if "network" in one)
        return next((str(at["address"]) for at in places if at["type"] == _ADDRESS), None)

    @property
    def words(self) -> str | None:
        """What was said with it, if the body is open and holds any."""
        return None if self.body is None else self.body.get("outcomeDesc")


@dataclass(frozen=True, slots=True)
class Logbook:
    """Entries of one organisation's audit log, in order, as of a signed checkpoint."""

    org: str
    size: int
    entries: tuple[Logged, ...]

    def of(self, topics: Sequence[str]) -> Iterator[Logged]:
        """The entries of any of these topics."""
        wanted = set(topics)
        return (one for one in self.entries if wanted.intersection(one.topics))

    def __str__(self) -> str:
        """What an answer is as of."""
        return f"the audit log of {self.org} at {self.size} entries"


def of_archive(records: Mapping[str, bytes]) -> Logbook:
    """The entries of an archive that `ledger.verify` has passed; of an audit log only."""
    state = verify.Checkpoint.parse(verify.Note.parse(records["checkpoint.txt"]).text)
    leaves, bodies = records["leaves.txt"].splitlines(), records["bodies.txt"].splitlines()
    entries = tuple(_logged(leaf, body) for leaf, body in zip(leaves, bodies, strict=True))
    return Logbook(state.origin.rpartition("/")[2], state.size, entries)


def is_of_audit_log(records: Mapping[str, bytes]) -> bool:
    """Whether an archive is about an organisation's audit log, not the network's."""
    state = verify.Checkpoint.parse(verify.Note.parse(records["checkpoint.txt"]).text)
    return state.origin.startswith("twinward/audit/")


def is_whole(records: Mapping[str, bytes]) -> bool:
    """Whether an archive holds every entry of its log."""
    return json.loads(records[verify.ANSWER])["topics"] is None


def _logged(leaf: bytes, body: bytes) -> Logged:
    value = read(leaf)
    content = None if body == b"-" else json.loads(body.partition(b" ")[2])
    topics = tuple(link["topic"] for link in value["topics"])
    return Logged(value["seq"], value["time"], value["kind"], topics, content)


@contextmanager
def opened(folder: Path, *, founding: Founding, clock: Clock) -> Iterator[AuditLog]:
    """The audit log in an organisation's own folder; its daemon may be up.

    Raises:
        UsageError: TW3723, this folder is not a member's.
        LedgerError: TW3601, TW3610, its files cannot be used.
    """
    place = folder / "state" / "audit"
    if not is_members(folder):
        raise _none(place)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    identity = Organisation(folder).identity()
    mine = identity.public.fingerprint
    org = next((one.org for one in founding.members if one.fingerprint == mine), None)
    if org is None:
        raise _none(place)
    genesis = bytes.fromhex(str(founding.chain["genesis_hash"]))
    log = AuditLog(place, org=org, genesis=genesis, identity=identity, clock=clock)
    try:
        yield log
    finally:
        log.close()


def is_here(folder: Path) -> bool:
    """Whether this is the folder of an organisation that keeps an audit log."""
    return (folder / "state" / "audit" / "audit.sqlite").is_file()


def is_members(folder: Path) -> bool:
    """Whether an organisation's own identity lies in this folder, so that it may enter things."""
    return (Organisation(folder).secrets / "identity.key").is_file()


def _none(place: Path) -> UsageError:
    return UsageError(
        "there is no audit log of a member here",
        code="TW3723",
        at=str(place),
        help="ask in the folder of the organisation itself, or give a copy that it exported with"
        " `--log`",
    )


def archive(
    log: AuditLog,
    *,
    topics: Sequence[str] | None,
    patients: bool,
    question: Mapping[str, Any],
    shown: Mapping[str, bytes],
    checkpoint: verify.Note,
) -> bytes:
    """Every entry of these topics as of a checkpoint, proved to be all.

    Args:
        log: The organisation's own.
        topics: None for the whole log.
        patients: Whether bodies that are about a patient, or another person, are opened too.
        question: What was asked.
        shown: More records, the founding file among them.
        checkpoint: A sealed state that the organisation signed.
    """

    def body(seq: int) -> tuple[bytes, bytes] | None:
        about = (link["topic"] for link in read(log.log.leaf(seq))["topics"])
        if not patients and any(topic.startswith(_PEOPLE) for topic in about):
            return None
        return log.body(seq)

    return archives.build(
        log.log, checkpoint=checkpoint, topics=topics, body=body, question=question, shown=shown
    )
