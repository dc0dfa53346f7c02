"""The network's own log: one entry for each event on the ledger, the same for everyone who follows.

Entries, topics and bodies follow from the events alone, so witnesses that follow the chain compute
the same tree and co-sign the same checkpoint, without asking each other anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from ledger.events import Event, Value
from ledger.log.entry import Draft, commit
from ledger.log.store import Log
from twinward import canonical
from twinward.errors import LedgerError

_AT_ONCE = 5_000
_FAMILIES = {
    "study": "study",
    "subject": "subject",
    "run": "run",
    "digest": "digest",
    "plan": "digest",
    "parents": "digest",
    "candidate": "digest",
    "root": "digest",
}
_NO_TOPIC = {("Consent.ConsentChanged", "digest")}  # as many as there are changes: ask by subject
_ACCOUNTS = ("account", "by", "hospital")
_NUMBERS = ("number", "relay")


class Members:
    """Member numbers by account and by identity, learned from the events that let members in."""

    def __init__(self, known: Iterable[Event] = ()) -> None:
        self._numbers: dict[bytes, int] = {}
        for event in known:
            self.learn(event)

    def learn(self, event: Event) -> None:
        """Take in an event; only ``Membership.Joined`` says anything new."""
        if event.kind == "Membership.Joined":
            number = event.values["number"]
            for name in ("id", "account"):
                key = event.values[name]
                if isinstance(number, int) and isinstance(key, bytes):
                    self._numbers[key] = number

    def number(self, key: object) -> int:
        """The member's number, or 0 for somebody else, who may only withdraw."""
        return self._numbers.get(key, 0) if isinstance(key, bytes) else 0


def topics_of(event: Event, members: Members) -> tuple[str, ...]:
    """What an event is about: its kind, and studies, subjects, runs, digests and members in it.

    ``kind:Consent.ConsentChanged``, ``study:HEX``, ``subject:HEX``, ``run:HEX``, ``digest:HEX``,
    ``member:N``.
    """
    found = [f"kind:{event.kind}"]
    numbers = [members.number(event.values.get(name)) for name in (*_ACCOUNTS, "id")]
    numbers += [n for n in (event.values.get(name) for name in _NUMBERS) if isinstance(n, int)]
    for name, value in event.values.items():
        if event.kind == "Consent.ConsentChanged" and name == "slot" and isinstance(value, int):
            numbers.append(value >> 16 & 0xFFFF)  # the hospital that relayed it
        elif name in _FAMILIES and (event.kind, name) not in _NO_TOPIC:
            found += [f"{_FAMILIES[name]}:{each.hex()}" for each in _parts(value)]
    found += [f"member:{number}" for number in numbers if number]
    return tuple(dict.fromkeys(found))


def _parts(value: Value) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, tuple):
        yield from value


def body_of(event: Event) -> bytes:
    """The event in canonical JSON: numbers as decimal text, bytes as ``0x`` and hex."""
    return canonical.encode(
        {
            "block": event.block,
            "contract": event.contract,
            "name": event.name,
            "number": event.number,
            "position": event.position,
            "time": event.time,
            "transaction": event.transaction.hex(),
            "values": {name: _spelled(value) for name, value in event.values.items()},
        }
    )


def _spelled(value: Value) -> Any:
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, tuple):
        return [f"0x{each.hex()}" for each in value]
    return str(value)


def draft_of(event: Event, members: Members) -> Draft:
    """The entry of an event. The salt is the transaction's hash: everybody may know the body."""
    return Draft(
        kind=event.kind,
        topics=topics_of(event, members),
        time=event.time,
        commitment=commit(body_of(event), salt=event.transaction),
    )


class NetworkLog:
    """Turns events into entries, in order and without a gap."""

    def __init__(self, log: Log, *, known: Iterable[Event] = ()) -> None:
        """Go on with a log.

        Args:
            log: Of ``checkpoint.network_origin``.
            known: The events ``Membership.Joined`` that the log holds already.
        """
        self.log = log
        self._members = Members(known)

    def extend(self, events: Iterable[Event]) -> int:
        """Append events that the ledger has confirmed; returns how many the log holds now.

        Dying in between leaves whole groups of entries; the same events are then given from
        ``log.size`` on.

        Raises:
            LedgerError: TW3607, an event is missing or comes twice.
        """
        rest = iter(events)
        while some := list(islice(rest, _AT_ONCE)):
            drafts = []
            for place, event in enumerate(some, self.log.size + 1):
                if event.number != place:
                    raise LedgerError(
                        f"event {event.number} of the ledger came where {place} was expected",
                        code="TW3607",
                        at=self.log.origin,
                        help="rebuild the copy of the ledger's events and the log from the ledger",
                    )
                self._members.learn(event)
                drafts.append(draft_of(event, self._members))
            self.log.append(drafts)
        return self.log.size
