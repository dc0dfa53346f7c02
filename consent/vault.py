"""The hospital's own record of who is who and who signed what. Nothing of it leaves the hospital.

It holds the only link between a record number and the subject (a key made for one patient and one
study) that appears on the ledger. That the link is right is the hospital's word: a hospital could
enrol a key of its own. Letters are entered in the audit log before they are handed out, so that an
auditor can draw patients and ask them (``ledger.questions.sample``); nobody can prove it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consent.hidden import Hidden
from consent.kept import KeptGrant, State
from consent.policy import Slot
from consent.postgres_url import PostgresUrl
from consent.record import Grant
from consent.store import Database, DurableStore, Store
from consent.vault_tables import FORM, TABLES, migrations
from twinward import canonical
from twinward.errors import ConsentError
from twinward.ids import RecordNumber

CODE_BYTES = 16
TAG_BYTES = 16

_GRANT = """
select g.seq, g.digest, g.study, g.subject, g.record, g.body, g.signature, g.grade, g.received_at,
  g.state, g.reason, g.mandate,
  (select max(through_nonce) from withdrawals w where w.study = g.study and w.subject = g.subject)
from grants g
"""
# Not the column alone: that keeps the query off the index of studies, which would sort the whole
# study for each page.
_NEWEST_OF_ALL = """
where coalesce(g.study, g.study) = ? and g.seq > ? and g.seq <= ? and not exists (
  select 1 from grants h where h.study = g.study and h.record = g.record and h.seq > g.seq
) order by g.seq
"""
_PAGE = 5_000
_ALL = 2**62
_READY = """
select digest from grants g where state = ? and digest >= ? and not exists (
  select 1 from withdrawals w where w.state = ? and w.study = g.study and w.subject = g.subject
) order by digest limit ?
"""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """One letter: whose it is, and the subject that used it, if it was used.

    ``mandate`` is the number of that under which somebody else answers it for the patient.
    """

    study: bytes
    record: RecordNumber
    valid_until: int
    subject: bytes | None
    mandate: int | None


class Vault:
    """Enrolments, subjects and signed grants of one hospital."""

    def __init__(self, store: DurableStore, hidden: Hidden) -> None:
        self.store = store
        self.hidden = hidden

    @classmethod
    def open(cls, at: Path | PostgresUrl, *, key: bytes, alone: bool = False) -> Vault:
        """Open or create it; it also holds the hospital's withdrawals.

        Args:
            at: A file (mode 0600), or a database of the hospital's own PostgreSQL server.
            key: 32 bytes that are not kept where the vault is; they hide whom a row is about.
            alone: Refuse a second process that says so too, on any machine. Of a file the files
                beside it see to that.

        Raises:
            IdentityError: TW3020.
            ConsentError: TW3021, TW3022; TW3160 to TW3171, the server; TW8641, the vault was made
                with another key.
        """
        hidden = Hidden(key)
        store = _opened(at, hidden, alone=alone)
        try:
            _require_key(store, hidden, at=str(at))
        except BaseException:
            store.close()
            raise
        return cls(store, hidden)

    def enrol(
        self,
        study: bytes,
        records: Iterable[RecordNumber],
        *,
        valid_until: int,
        mandate: int | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> list[bytes]:
        """One fresh 128-bit code per record, for a letter to that patient.

        With a ``mandate`` the letter goes to its holder, and grants hold only inside it. Only a
        hash of the code is kept: a copy of this database cannot enrol anybody. All codes are
        durable before one is returned.
        """
        made = [(random_bytes(CODE_BYTES), record) for record in records]
        with self.store.transaction() as database:
            database.executemany(
                "insert into enrolments values (?, ?, ?, ?, null, ?)",
                [
                    (code_hash(code), study, self.hidden.hide(record), valid_until, mandate)
                    for code, record in made
                ],
            )
        return [code for code, _ in made]

    def enrolment(self, code: bytes) -> Enrolment | None:
        """Whose letter carries this code, if anybody's."""
        row = self.store.row(
            "select study, record, valid_until, subject, mandate from enrolments"
            " where code_hash = ?",
            (code_hash(code),),
        )
        if row is None:
            return None
        found, record, *rest = row
        return Enrolment(found, self._shown(record), *rest)

    def has_letter(self, record: RecordNumber) -> bool:
        """Whether a letter ever went to a patient of this number, or an answer came."""
        hidden = self.hidden.hide(record)
        return (
            self.store.row(
                "select 1 from enrolments where record = ? union all"
                " select 1 from bindings where record = ? limit 1",
                (hidden, hidden),
            )
            is not None
        )

    def record_of(self, study: bytes, subject: bytes) -> RecordNumber | None:
        """The patient behind a subject, if it is one of ours."""
        row = self.store.row(
            "select record from bindings where study = ? and subject = ?", (study, subject)
        )
        return self._shown(row[0]) if row else None

    def subjects_of(self, record: RecordNumber) -> list[tuple[bytes, bytes]]:
        """Study and ledger pseudonym of every answer that this patient ever gave here."""
        rows = self.store.rows(
            "select study, subject from bindings where record = ?", (self.hidden.hide(record),)
        )
        return [(study, subject) for study, subject in rows]

    def newest(self, study: bytes, record: RecordNumber) -> KeptGrant | None:
        """The newest grant that this patient signed: the one that decides."""
        row = self.store.row(
            f"{_GRANT} where g.study = ? and g.record = ? order by g.seq desc limit 1",
            (study, self.hidden.hide(record)),
        )
        return self._read(row) if row else None

    def newest_of_all(self, study: bytes) -> Iterator[KeptGrant]:
        """The newest grant of every patient who ever signed one for this study."""
        last = 0
        while last < self._last_grant():
            page = self.store.rows(_GRANT + _NEWEST_OF_ALL, (study, last, last + _PAGE))
            yield from map(self._read, page)
            last += _PAGE

    def _last_grant(self) -> int:
        (last,) = self.store.row("select max(seq) from grants") or (None,)
        return int(last or 0)

    def by_digest(self, digest: bytes) -> KeptGrant | None:
        """The grant of this digest, if it is kept here."""
        row = self.store.row(f"{_GRANT} where g.digest = ?", (digest,))
        return self._read(row) if row else None

    def waiting(self, study: bytes, subject: bytes) -> KeptGrant | None:
        """The subject's grant that is on its way to the ledger, if there is one."""
        row = self.store.row(
            f"{_GRANT} where g.state = ? and g.study = ? and g.subject = ?",
            (State.WAITING, study, subject),
        )
        return self._read(row) if row else None

    def in_state(self, state: State) -> list[KeptGrant]:
        """The grants that are so far on their way to the ledger, oldest first."""
        return [
            self._read(row)
            for row in self.store.rows(f"{_GRANT} where g.state = ? order by g.seq", (state,))
        ]

    def ready_for_ledger(self, most: int = _ALL, *, first: bytes = b"") -> list[bytes]:
        """Digests of the waiting grants that no withdrawal of the same subject has to precede.

        In the order of the digests, which says nothing about patients: at most so many, from
        ``first`` on.
        """
        values = (State.WAITING, first, State.WAITING, most)
        return [digest for (digest,) in self.store.rows(_READY, values)]

    def note(self, notes: Iterable[tuple[bytes, State, str | None]]) -> None:
        """Write down how far grants are on their way: digest, state, reason; all or nothing."""
        with self.store.transaction() as database:
            database.executemany(
                "update grants set state = ?, reason = ? where digest = ?",
                [(state, reason, digest) for digest, state, reason in notes],
            )

    def all_of(self, study: bytes, subject: bytes) -> list[KeptGrant]:
        """Every grant that this subject ever signed, oldest first."""
        where = "where g.study = ? and g.subject = ? order by g.seq"
        rows = self.store.rows(f"{_GRANT} {where}", (study, subject))
        return [self._read(row) for row in rows]

    def next_nonce(self, study: bytes, subject: bytes, slot: Slot | None) -> int:
        """The nonce of the subject's next grant, by the ledger and by what is known here."""
        (ended,) = self.store.row(
            "select max(through_nonce) from withdrawals where study = ? and subject = ?",
            (study, subject),
        ) or (None,)
        (relayed,) = self.store.row(
            "select max(nonce) from grants where study = ? and subject = ? and state = ?",
            (study, subject, State.ON_LEDGER),
        ) or (None,)
        here = max(-1 if ended is None else ended, -1 if relayed is None else relayed) + 1
        return max(here, slot.nonce if slot else 0)

    def keep(
        self,
        database: Database,
        grant: Grant,
        *,
        digest: bytes,
        signature: bytes,
        code: bytes,
        record: RecordNumber,
        grade: str,
        received_at: int,
        mandate: int | None = None,
    ) -> None:
        """Bind the subject to the record, keep the grant, queue it for the ledger: all or nothing.

        ``database`` is that of the `Store.transaction` in which the caller checked that it may.
        """
        hidden = self.hidden.hide(record)
        database.execute(
            "update enrolments set subject = ? where code_hash = ?",
            (grant.subject, code_hash(code)),
        )
        database.execute(
            "insert into bindings values (?, ?, ?) on conflict do nothing",
            (grant.study, grant.subject, hidden),
        )
        database.execute(
            "insert into grants (digest, study, subject, record, nonce, body, signature, grade,"
            " received_at, state, mandate) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                digest,
                grant.study,
                grant.subject,
                hidden,
                grant.nonce,
                canonical.encode(grant.to_json()),
                signature,
                grade,
                received_at,
                State.WAITING,
                mandate,
            ),
        )
        note_change(database, grant.study, hidden)

    def digests_of(self, study: bytes, records: Iterable[RecordNumber]) -> list[bytes]:
        """Digests of every grant that these patients ever signed for a study."""
        sql = "select digest from grants where study = ? and record = ?"
        hidden = map(self.hidden.hide, records)
        return [digest for one in hidden for (digest,) in self.store.rows(sql, (study, one))]

    def last_change(self) -> int:
        """Number of the newest change; never used twice, even after a crash."""
        row = self.store.row("select max(seq) from changes")
        return int(row[0] or 0) if row else 0

    def changed_records(self, study: bytes, *, after: int) -> list[RecordNumber]:
        """Whose permission may have changed here since that change number."""
        rows = self.store.rows(
            "select distinct record from changes where seq > ? and study = ?", (after, study)
        )
        return [self._shown(record) for (record,) in rows]

    def change_tag(self, number: int) -> bytes | None:
        """What nobody can guess about the change of this number; None if there is none.

        A file that was restored from an older copy and went on has other tags from there.
        """
        row = self.store.row("select tag from changes where seq = ?", (number,))
        return None if row is None else bytes(row[0])

    def _shown(self, record: bytes) -> RecordNumber:
        return RecordNumber(self.hidden.show(record))

    def _read(self, row: Sequence[Any]) -> KeptGrant:
        return KeptGrant.read(row, record=self._shown(row[4]))


def code_hash(code: bytes) -> bytes:
    """What the vault keeps of an enrolment code."""
    return canonical.tagged_hash("enrolment-code/v1", code)


def note_change(
    database: Database,
    study: bytes,
    hidden: bytes,
    *,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> None:
    """Tell whoever keeps a cohort that a patient's permission may have changed.

    ``hidden`` is the record number as the vault keeps it.
    """
    database.execute(
        "insert into changes (study, record, tag) values (?, ?, ?)",
        (study, hidden, random_bytes(TAG_BYTES)),
    )


def _opened(at: Path | PostgresUrl, hidden: Hidden, *, alone: bool) -> DurableStore:
    if isinstance(at, Path):
        return Store.open(at, tables=TABLES, version=FORM, migrations=migrations(hidden))
    from consent.postgres import PostgresStore  # noqa: PLC0415 - most hospitals have no driver

    return PostgresStore.open(at, tables=TABLES, version=FORM, alone=alone)


def _require_key(store: DurableStore, hidden: Hidden, *, at: str) -> None:
    with store.transaction() as database:
        found = database.execute("select key_check from site").fetchone()
        if found is None:
            database.execute("insert into site values (?)", (hidden.check,))
        elif found[0] != hidden.check:
            raise other_key(at)


def other_key(at: str) -> ConsentError:
    """The one error for a vault whose key is not there."""
    return ConsentError(
        "the consent database was made with another key",
        code="TW8641",
        at=at,
        help="put back `secrets/vault.key` of the same backup; without it nobody can open the file",
    )
