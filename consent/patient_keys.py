"""What a patient's device keeps and does: one fresh key per patient and study, and signatures.

A wallet is a folder of the patients' own, never of the hospital: the hospital sees addresses and
signatures only. One wallet may hold many patients (the demo plays all of them). Keys of a sealed
wallet lie under a passphrase (`consent.sealed_key`), those of any other as they are, protected by
the folder's permissions (0700, file 0600). The codes of letters lie beside them either way.

What was signed is on disk before it is sent. Dying in between: the same bytes are sent again, so a
desk sees a repetition, never a second grant.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from consent import purposes, signature, wallet_seal
from consent.letters import Letter
from consent.record import DAY, Grant, Withdrawal, midnight_before
from consent.store import Store
from consent.terms import Terms
from consent.wallet_seal import WalletSeal, subject_of
from twinward import canonical
from twinward.errors import ConsentError, UsageError

VERSION = 2
SUBMISSION = 7 * DAY
"""How long a hospital may take to bring a grant to the ledger, seconds."""

_TABLES = f"""
create table entries (
  reference text primary key, letter blob not null, key blob, nonce integer not null,
  answer text not null, sent blob, receipt blob
) strict, without rowid;
{wallet_seal.TABLE}"""
_ROW = "select reference, letter, key, nonce, answer, sent, receipt from entries"


class Answer(StrEnum):
    """What a patient answered to a letter."""

    NONE = "none"
    REFUSED = "refused"
    GRANTED = "granted"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Choice:
    """What a patient permits, and until when (Unix seconds; rounded down to a UTC midnight).

    Without purposes it is what the letter's study asks for, and nothing beyond. ``without`` are
    categories of data that are left out; None: those that the last yes to the letter left out.
    """

    purposes: tuple[str, ...]
    until: float
    without: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One letter and what became of it. ``sent`` is the last request, ``receipt`` its answer."""

    letter: Letter
    subject: bytes | None
    nonce: int
    answer: Answer
    sent: dict[str, Any] | None
    receipt: bytes | None

    @property
    def reference(self) -> str:
        """The letter's short name."""
        return self.letter.reference

    @property
    def without(self) -> tuple[str, ...]:
        """The categories that the yes leaves out, as it was signed here; none without a yes."""
        if self.answer is not Answer.GRANTED or self.sent is None:
            return ()
        scope = bytes.fromhex(self.sent["grant"]["scope"])
        return self.letter.study.without(scope, self.letter.hospital)


_Signed = tuple[bytes | None, int, Answer, dict[str, Any], str]


class Wallet:
    """The keys and answers of one or many patients."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.seal = WalletSeal(store)

    @classmethod
    def open(cls, folder: Path) -> Wallet:
        """Open or create a wallet in a folder that is private to its owner.

        A sealed one signs nothing until its seal is opened.

        Raises:
            IdentityError: TW3020. ConsentError: TW3021, TW3022.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(
            Store.open(
                folder / "wallet.db",
                tables=_TABLES,
                version=VERSION,
                migrations=wallet_seal.MIGRATIONS,
            )
        )

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()

    def keep(self, letters: Iterable[Letter]) -> None:
        """Put letters into the wallet; those that are in it already stay as they are."""
        with self._store.transaction() as database:
            database.executemany(
                "insert or ignore into entries values (?, ?, null, 0, ?, null, null)",
                [(a.reference, canonical.encode(a.to_json()), Answer.NONE) for a in letters],
            )

    def entries(self) -> list[Entry]:
        """Every letter in the wallet."""
        return [_entry(row) for row in self._store.rows(f"{_ROW} order by reference")]

    def entry(self, reference: str) -> Entry:
        """The letter of this name.

        Raises:
            UsageError: TW3031.
        """
        row = self._store.row(f"{_ROW} where reference = ?", (reference,))
        if row is None:
            raise UsageError(
                f"there is no letter `{reference}` in this wallet",
                code="TW3031",
                help="list the letters with `twinward consent show`",
            )
        return _entry(row)

    def refuse(self, reference: str) -> None:
        """Write down a no. Nothing is sent: without a yes nothing is used.

        Raises:
            ConsentError: TW3032, there was a yes already.
        """
        if self.entry(reference).answer is Answer.GRANTED:
            raise ConsentError(
                "this letter was answered with yes; a no now is a withdrawal",
                code="TW3032",
                help="use `twinward consent withdraw`",
            )
        self._update(reference, answer=Answer.REFUSED)

    def sign_grants(
        self, entries: Sequence[Entry], terms: Terms, *, choice: Choice, at: float
    ) -> list[dict[str, Any]]:
        """Requests for the desk that say yes, each by the patient's own key; on disk at return.

        All entries are of one study at one hospital and share the terms that were shown. An
        entry whose last grant is still without a receipt gives the same request again.

        Raises:
            UsageError: TW3006, an unknown purpose; TW3042, something cannot be left out.
        """
        requests: list[dict[str, Any]] = []
        changed: list[_Signed] = []
        for entry in entries:
            if entry.answer is Answer.GRANTED and entry.receipt is None and entry.sent:
                requests.append(entry.sent)
                continue
            key = self._key(entry.reference)
            stored = None
            if key is None:
                key = signature.new_key()
                stored = self.seal.stored(key, entry.letter)
            request = _grant_request(entry, key, terms, choice=choice, at=at)
            requests.append(request)
            changed.append((stored, entry.nonce + 1, Answer.GRANTED, request, entry.reference))
        self._sign(changed)
        return requests

    def sign_withdrawals(self, entries: Sequence[Entry], *, at: float) -> list[dict[str, Any]]:
        """Requests for the desk that end every earlier yes; on disk at return.

        A letter that never had a yes, or whose key is gone, is withdrawn by its code.
        """
        requests: list[dict[str, Any]] = []
        changed: list[_Signed] = []
        for entry in entries:
            if entry.answer is Answer.WITHDRAWN and entry.sent:
                requests.append(entry.sent)
                continue
            key = self._key(entry.reference)
            request = _withdrawal_request(entry, key, at=at)
            requests.append(request)
            nonce = entry.nonce + (key is not None)
            changed.append((None, nonce, Answer.WITHDRAWN, request, entry.reference))
        self._sign(changed)
        return requests

    def keep_receipts(self, receipts: Iterable[tuple[str, bytes]]) -> None:
        """Keep verified receipts by the reference of their letter; durable at return."""
        with self._store.transaction() as database:
            database.executemany(
                "update entries set receipt = ? where reference = ?",
                [(receipt, reference) for reference, receipt in receipts],
            )

    def catch_up(self, entry: Entry, nonce: int, *, at: float) -> None:
        """Go on from the nonce that the ledger expects.

        A number that was used already is used again only when the earlier grant can no longer be
        handed in: otherwise the hospital could choose between two.
        """
        last = (entry.sent or {}).get("grant")
        if nonce < entry.nonce and not (last and last["submitBy"] < at):
            return
        with self._store.transaction() as database:
            database.execute(
                "update entries set nonce = ? where reference = ?", (nonce, entry.reference)
            )

    def take_back(self, entry: Entry) -> None:
        """Go back to an entry as it was, after the desk refused what was signed since."""
        with self._store.transaction() as database:
            database.execute(
                "update entries set nonce = ?, answer = ?, sent = ?, receipt = ?"
                " where reference = ?",
                (
                    entry.nonce,
                    entry.answer,
                    None if entry.sent is None else canonical.encode(entry.sent),
                    entry.receipt,
                    entry.reference,
                ),
            )

    def _key(self, reference: str) -> bytes | None:
        row = self._store.row("select key, letter from entries where reference = ?", (reference,))
        if row is None or row[0] is None:
            return None
        return self.seal.key(row[0], Letter.from_json(json.loads(row[1])))

    def _sign(self, changed: Sequence[_Signed]) -> None:
        with self._store.transaction() as database:
            database.executemany(
                "update entries set key = coalesce(?, key), nonce = ?, answer = ?, sent = ?,"
                " receipt = null where reference = ?",
                [
                    (new_key, nonce, answer, canonical.encode(request), reference)
                    for new_key, nonce, answer, request, reference in changed
                ],
            )

    def _update(self, reference: str, *, answer: Answer) -> None:
        with self._store.transaction() as database:
            database.execute(
                "update entries set answer = ? where reference = ?", (answer, reference)
            )


def _grant_request(
    entry: Entry, key: bytes, terms: Terms, *, choice: Choice, at: float
) -> dict[str, Any]:
    letter = entry.letter
    without = entry.without if choice.without is None else choice.without
    grant = Grant(
        network=letter.domain.genesis,
        study=letter.study.id32,
        subject=signature.address_of(key),
        purposes=purposes.bits(choice.purposes or (letter.study.purpose,)),
        purpose_table=purposes.table_digest(),
        scope=letter.study.scope(letter.hospital, without=without),
        terms_shown=terms.digest,
        # Whole days: the ledger learns no hour, and clocks that differ do no harm.
        not_before=midnight_before(at),
        expiry=midnight_before(choice.until),
        nonce=entry.nonce,
        submit_by=int(at + SUBMISSION),
    )
    return {
        "code": letter.code.hex(),
        "grant": grant.to_json(),
        "signature": grant.sign(key, letter.domain).hex(),
    }


def _withdrawal_request(entry: Entry, key: bytes | None, *, at: float) -> dict[str, Any]:
    letter = entry.letter
    if key is None:
        return {"code": letter.code.hex(), "study": letter.study.id32.hex()}
    withdrawal = Withdrawal(
        network=letter.domain.genesis,
        study=letter.study.id32,
        subject=signature.address_of(key),
        nonce=entry.nonce,
        signed_at=int(at),
    )
    return {
        "withdrawal": withdrawal.to_json(),
        "signature": withdrawal.sign(key, letter.domain).hex(),
    }


def _entry(row: Sequence[Any]) -> Entry:
    _, letter, key, nonce, answer, sent, receipt = row
    return Entry(
        letter=Letter.from_json(json.loads(letter)),
        subject=None if key is None else subject_of(key),
        nonce=nonce,
        answer=Answer(answer),
        sent=None if sent is None else json.loads(sent),
        receipt=receipt,
    )
