"""Withdrawals as the hospital keeps them: durable first, then everything else.

A withdrawal bites when its row is committed, which is before its receipt exists. No key, no quorum
and no block is needed for that; the ledger follows. Rows are never deleted or changed back.

Dying before the commit: nobody was told anything, and nothing happened. Dying after it: the
withdrawal holds; asking again gives the receipt.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from consent.kept import EVERY_NONCE, State
from consent.record import Withdrawal
from consent.store import Database
from consent.vault import Vault, note_change
from twinward import canonical
from twinward.ids import RecordNumber

_ROW = """
select digest, study, subject, record, through_nonce, body, signature, received_at, on_chain_by,
  receipt, state, reason
from withdrawals
"""


@dataclass(frozen=True, slots=True)
class KeptWithdrawal:
    """A withdrawal with what became of it.

    Without a key, at the desk or by the code of a letter, ``withdrawal`` and ``signature`` are
    None and ``digest`` is random. ``through_nonce`` is the highest nonce that it ends, -1 for none.
    """

    digest: bytes
    study: bytes
    subject: bytes | None
    record: RecordNumber
    through_nonce: int
    withdrawal: Withdrawal | None
    signature: bytes | None
    received_at: int
    on_chain_by: int
    receipt: bytes | None
    state: State
    reason: str | None


class Withdrawals:
    """The withdrawals of one hospital, in the same file as its grants."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._store = vault.store
        self._hidden = vault.hidden

    def signed(
        self,
        withdrawal: Withdrawal,
        *,
        digest: bytes,
        signature: bytes,
        record: RecordNumber,
        received_at: int,
        on_chain_by: int,
    ) -> KeptWithdrawal:
        """Keep a withdrawal that the subject signed; on disk when this returns.

        The same one again changes nothing and returns what was kept the first time.
        """
        with self._store.transaction() as database:
            self._insert(
                database,
                digest=digest,
                study=withdrawal.study,
                subject=withdrawal.subject,
                record=record,
                through_nonce=withdrawal.nonce,
                body=canonical.encode(withdrawal.to_json()),
                signature=signature,
                received_at=received_at,
                on_chain_by=on_chain_by,
                state=State.WAITING,
            )
            return self._known(digest)

    def without_key(
        self,
        study: bytes,
        record: RecordNumber,
        *,
        received_at: int,
        on_chain_by: int,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> KeptWithdrawal:
        """Keep a withdrawal at the desk, by telephone or by letter code; on disk at return.

        It ends the patient's present subject for ever, whatever that key still signs: the key may
        be lost or stolen. A later grant needs a new letter and with it a new key. Withdrawing
        twice returns the first one: there is nothing left to end.
        """
        with self._store.transaction() as database:
            newest = self._vault.newest(study, record)
            last = self.newest(study, record)
            if last is not None and (newest is None or newest.withdrawn_for_ever):
                return last
            digest = random_bytes(32)
            self._insert(
                database,
                digest=digest,
                study=study,
                subject=None if newest is None else newest.subject,
                record=record,
                through_nonce=-1 if newest is None else EVERY_NONCE,
                body=None,
                signature=None,
                received_at=received_at,
                on_chain_by=on_chain_by,
                state=State.ENDED if newest is None else State.WAITING,
            )
            return self._known(digest)

    def _insert(self, database: Database, *, record: RecordNumber, **others: Any) -> None:
        values = {**others, "record": self._hidden.hide(record)}
        new = database.execute(
            f"insert into withdrawals ({', '.join(values)})"  # noqa: S608 - our names
            f" values ({', '.join('?' * len(values))}) on conflict do nothing",
            tuple(values.values()),
        ).rowcount
        if new:
            database.execute(
                "update grants set state = ? where state = ? and study = ? and subject = ?"
                " and nonce <= ?",
                (
                    State.ENDED,
                    State.WAITING,
                    values["study"],
                    values["subject"],
                    values["through_nonce"],
                ),
            )
            note_change(database, values["study"], values["record"])

    def _known(self, digest: bytes) -> KeptWithdrawal:
        kept = self.by_digest(digest)
        assert kept is not None  # noqa: S101 - rows are never deleted
        return kept

    def by_digest(self, digest: bytes) -> KeptWithdrawal | None:
        """The withdrawal of this digest, if it is kept here."""
        row = self._store.row(f"{_ROW} where digest = ?", (digest,))
        return self._kept(row) if row else None

    def newest(self, study: bytes, record: RecordNumber) -> KeptWithdrawal | None:
        """The patient's newest withdrawal from this study, if there is one."""
        row = self._store.row(
            f"{_ROW} where study = ? and record = ? order by seq desc limit 1",
            (study, self._hidden.hide(record)),
        )
        return self._kept(row) if row else None

    def keep_receipt(self, digest: bytes, receipt: bytes) -> bytes:
        """Keep the receipt that the patient gets; the first one stays for ever."""
        with self._store.transaction() as database:
            database.execute(
                "update withdrawals set receipt = ? where digest = ? and receipt is null",
                (receipt, digest),
            )
        receipt_now = self._known(digest).receipt
        assert receipt_now is not None  # noqa: S101 - set above or before
        return receipt_now

    def waiting(self) -> list[KeptWithdrawal]:
        """Those that the ledger does not show yet, oldest first."""
        rows = self._store.rows(f"{_ROW} where state = ? order by seq", (State.WAITING,))
        return [self._kept(row) for row in rows]

    def note(self, digest: bytes, state: State, *, reason: str | None) -> None:
        """Write down how far a withdrawal is on its way; what it ends stays ended."""
        with self._store.transaction() as database:
            database.execute(
                "update withdrawals set state = ?, reason = ? where digest = ?",
                (state, reason, digest),
            )

    def _kept(self, row: Sequence[Any]) -> KeptWithdrawal:
        digest, study, subject, hidden, through, body, signature, at, by, *rest = row
        receipt, state, reason = rest
        return KeptWithdrawal(
            digest=digest,
            study=study,
            subject=subject,
            record=RecordNumber(self._hidden.show(hidden)),
            through_nonce=through,
            withdrawal=None if body is None else Withdrawal.from_json(json.loads(body)),
            signature=signature,
            received_at=at,
            on_chain_by=by,
            receipt=receipt,
            state=State(state),
            reason=reason,
        )
