"""Who wants a mail when there is something new, where to, and what still has to go out.

Nobody does unless they ask for it and type the code that was mailed to them. Addresses, and whose
they are, are sealed (`consent.hidden`): a copy of the file without its key names nobody. A mail
says that there is something new and never what. It is sent at least once: a process that dies
between the relay's yes and the note of it sends the same mail, of the same Message-ID, again.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address
from pathlib import Path
from typing import Final, Self

from consent.hidden import Hidden
from consent.record import DAY
from consent.store import Store
from twinward.errors import ConsentError
from twinward.ids import RecordNumber

KINDS: Final = ("study", "stopped", "result", "delegate")
"""New study used my data; a stop is complete; a study has a result; somebody answered for me."""
CODE_SECONDS: Final = DAY
MOST_TRIES: Final = 5
MOST_CODES: Final = 3
"""Code mails to one patient's addresses in a day: nobody is flooded by who has a letter."""
_CLAIM, _FIRST, _LONGEST = 600, 60, 6 * 3600
_GIVE_UP = 30 * DAY
_LONGEST_ADDRESS = 254
VERSION = 1
_TABLES = """
create table people (
  record blob primary key, address blob not null, kinds text not null, language text not null,
  confirmed_at integer, code blob, code_until integer, tries integer not null,
  seen integer not null, refused integer not null
) strict, without rowid;
create table mails (
  id text primary key, record blob not null, event blob not null, is_code integer not null,
  made_at integer not null, state text not null, next_try integer not null,
  tries integer not null, unique (record, event)
) strict, without rowid;
"""


@dataclass(frozen=True, slots=True)
class Wish:
    """What one patient chose.

    Attributes:
        address: Where mails go.
        kinds: Of which events.
        confirmed: Whether the code of the first mail was typed; nothing else goes out before.
        refused: Whether the hospital's relay refused the address for good.
    """

    address: str
    kinds: tuple[str, ...]
    confirmed: bool
    refused: bool


@dataclass(frozen=True, slots=True)
class Reader:
    """One patient who wants mails: of which kinds, since when, and how far the log was read."""

    record: RecordNumber
    kinds: tuple[str, ...]
    since: int
    seen: int


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail that is due.

    Attributes:
        id: Its Message-ID's own part: the same each time it is tried.
        ids: Of everything that it stands for.
        address: Where it goes.
        sealed: The same as it is kept.
        language: Of its words.
        code: What confirms the address; None in a mail that tells of something new.
    """

    id: str
    ids: tuple[str, ...]
    address: str
    sealed: bytes
    language: str
    code: str | None


class Notices:
    """Wishes and mails of one hospital's patients. Thread-safe; durable when a call returns."""

    def __init__(self, store: Store, hidden: Hidden) -> None:
        self._store = store
        self._hidden = hidden

    @classmethod
    def open(cls, path: Path, *, key: bytes) -> Self:
        """Open or create the file, mode 0600; ``key`` is 32 bytes that are not in its folder.

        Raises:
            IdentityError: TW3020. ConsentError: TW3021, TW3022.
        """
        return cls(Store.open(path, tables=_TABLES, version=VERSION), Hidden(key))

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()

    def of(self, record: RecordNumber) -> Wish | None:
        """What this patient chose; None: no mails."""
        row = self._store.row(
            "select address, kinds, confirmed_at, refused from people where record = ?",
            (self._hidden.hide(record),),
        )
        if row is None:
            return None
        address, kinds, confirmed_at, refused = row
        return Wish(
            self._address(address), tuple(kinds.split()), confirmed_at is not None, bool(refused)
        )

    def ask(
        self, record: RecordNumber, *, address: str, kinds: Iterable[str], language: str, now: int
    ) -> None:
        """Note a wish; a code goes to an address that is new, and nothing else until it is typed.

        Raises:
            ConsentError: TW8170 no address or nothing chosen, TW8171 too many codes today.
        """
        chosen, hidden = " ".join(kind for kind in KINDS if kind in set(kinds)), self._hidden.hide
        if not chosen or not _is_address(address):
            raise ConsentError(
                "this is no address for mails, or nothing was chosen",
                code="TW8170",
                help="give an address like name@example.org and choose at least one thing",
            )
        known = self.of(record)
        whose = hidden(record)
        with self._store.transaction() as database:
            if known is not None and known.confirmed and known.address == address:
                database.execute(
                    "update people set kinds = ?, language = ?, refused = 0 where record = ?",
                    (chosen, language, whose),
                )
                return
            ((sent,),) = database.execute(
                "select count(*) from mails where record = ? and is_code = 1 and made_at > ?",
                (whose, now - DAY),
            ).fetchall()
            if sent >= MOST_CODES:
                raise ConsentError(
                    "too many codes were asked for today",
                    code="TW8171",
                    help="look for the code that was mailed, or ask again tomorrow",
                )
            code = f"{secrets.randbelow(10**8):08d}"
            sealed = hidden(f"{record}\n{address}")
            database.execute("delete from people where record = ?", (whose,))
            database.execute(
                "insert into people values (?, ?, ?, ?, null, ?, ?, 0, 0, 0)",
                (whose, sealed, chosen, language, hidden(code), now + CODE_SECONDS),
            )
            database.execute(
                "update mails set state = 'dropped' where record = ? and state = 'waiting'",
                (whose,),
            )
            self._add(database, whose, f"code:{secrets.token_hex(8)}", now=now, is_code=True)

    def confirm(self, record: RecordNumber, code: str, *, now: int) -> None:
        """The code of the mail was typed: from now on mails go out.

        Raises:
            ConsentError: TW8172, another code, one too old, or tried too often.
        """
        whose = self._hidden.hide(record)
        with self._store.transaction() as database:
            right = database.execute(
                "update people set confirmed_at = ?, code = null where record = ? and code = ?"
                " and code_until > ? and tries < ?",
                (now, whose, self._hidden.hide(code.strip()), now, MOST_TRIES),
            ).rowcount
            if not right:
                database.execute("update people set tries = tries + 1 where record = ?", (whose,))
        if not right:
            raise ConsentError(
                "this is not the code that was mailed, or it is too old",
                code="TW8172",
                help="type the newest code; after five tries, or a day, ask for another",
            )

    def end(self, record: RecordNumber) -> None:
        """No mails any more; the address is deleted."""
        self._forget(record, "delete from mails where record = ? and is_code = 0")

    def forget(self, record: RecordNumber) -> int:
        """Delete all that there is of a patient; returns how many rows."""
        return self._forget(record, "delete from mails where record = ?")

    def _forget(self, record: RecordNumber, mails: str) -> int:
        whose = (self._hidden.hide(record),)
        with self._store.transaction() as database:
            gone = database.execute("delete from people where record = ?", whose).rowcount
            gone += database.execute(mails, whose).rowcount
        self._store.row("pragma wal_checkpoint(truncate)")  # nothing deleted stays beside it
        return gone

    def readers(self) -> list[Reader]:
        """Who wants mails and has confirmed the address."""
        rows = self._store.rows(
            "select record, kinds, confirmed_at, seen from people"
            " where confirmed_at is not null and refused = 0"
        )
        return [
            Reader(RecordNumber(self._hidden.show(record)), tuple(kinds.split()), since, seen)
            for record, kinds, since, seen in rows
        ]

    def tell(
        self, reader: Reader, events: Iterable[tuple[str, str, float]], *, seen: int, now: int
    ) -> int:
        """Note events, each once, and that the log was read so far; how many are to be mailed.

        Args:
            reader: Whose.
            events: Kind, a name of its own, when it was. What was before the wish, or is of a kind
                that nobody asked for, is noted and not mailed.
            seen: Entries of the audit log that were read.
            now: Unix seconds.
        """
        whose, new = self._hidden.hide(reader.record), 0
        with self._store.transaction() as database:
            alive = database.execute(
                "update people set seen = ? where record = ? and confirmed_at = ?",
                (seen, whose, reader.since),
            ).rowcount
            for kind, name, at in events if alive else ():
                wanted = kind in reader.kinds and at >= reader.since
                added = self._add(database, whose, f"{kind}:{name}", now=now, is_known=not wanted)
                new += added and wanted
        return new

    def due(self, now: int) -> list[Mail]:
        """Mails to send now, one for each patient; for ten minutes nobody else gets them."""
        with self._store.transaction() as database:
            database.execute(
                "update mails set state = 'dropped' where state = 'waiting' and made_at < ?",
                (now - _GIVE_UP,),
            )
            rows = database.execute(
                "select m.id, m.is_code, p.record, p.address, p.language, p.code"
                " from mails m join people p on p.record = m.record"
                " where m.state = 'waiting' and m.next_try <= ? and p.refused = 0"
                " and (m.is_code = 0 or p.code is not null)"
                " order by m.made_at, m.id",
                (now,),
            ).fetchall()
            database.executemany(
                "update mails set next_try = ?, tries = tries + 1 where id = ?",
                [(now + _CLAIM, row[0]) for row in rows],
            )
        found: dict[bytes, list[tuple[str, bytes, str, bytes | None]]] = {}
        for name, is_code, record, address, language, code in rows:
            found.setdefault(record, []).append(
                (name, address, language, code if is_code else None)
            )
        return [self._mail(each) for each in found.values()]

    def sent(self, mail: Mail) -> None:
        """The relay took it."""
        self._set(mail, "state = 'sent'")

    def later(self, mail: Mail, *, now: int) -> None:
        """The relay did not take it now: a minute, then twice as long, six hours at most."""
        wait = f"min({_LONGEST}, {_FIRST} * (1 << min(tries - 1, 12)))"
        self._set(mail, f"next_try = {int(now)} + {wait}")

    def refuse(self, mail: Mail) -> None:
        """The relay refused the address for good: no more mails, and the patient is told so."""
        with self._store.transaction() as database:
            database.execute(
                "update people set refused = 1 where address = ? and record ="
                " (select record from mails where id = ?)",
                (mail.sealed, mail.id),
            )
        self._set(mail, "state = 'dropped'")

    def _set(self, mail: Mail, change: str) -> None:
        with self._store.transaction() as database:
            for name in mail.ids:
                database.execute(f"update mails set {change} where id = ?", (name,))  # noqa: S608 - ours

    def _mail(self, rows: Sequence[tuple[str, bytes, str, bytes | None]]) -> Mail:
        first, address, language, code = rows[0]
        shown = None if code is None else self._hidden.show(code)
        ids = tuple(name for name, *_ in rows)
        return Mail(first, ids, self._address(address), address, language, shown)

    def _address(self, sealed: bytes) -> str:
        return self._hidden.show(sealed).partition("\n")[2]

    def _add(
        self,
        database: sqlite3.Connection,
        whose: bytes,
        event: str,
        *,
        now: int,
        is_code: bool = False,
        is_known: bool = False,
    ) -> int:
        """Note one event of a patient; one that is there stays as it is. Whether it was new."""
        return database.execute(
            "insert or ignore into mails values (?, ?, ?, ?, ?, ?, ?, 0)",
            (
                secrets.token_hex(16),
                whose,
                self._hidden.hide(f"{whose.hex()}{event}"),
                int(is_code),
                now,
                "known" if is_known else "waiting",
                now,
            ),
        ).rowcount


def _is_address(text: str) -> bool:
    """Whether a mail can be sent there: one address of ASCII signs (RFC 5321), without a name."""
    if not (text.isascii() and text.isprintable() and 3 <= len(text) <= _LONGEST_ADDRESS):
        return False
    try:
        found = Address(addr_spec=text)
    except (MessageError, ValueError, IndexError):
        return False
    return "." in found.domain.strip(".") and text == found.addr_spec and not found.display_name
