"""Each patient's own account over the life of their data: who may still be used, and for how much.

Every release that a patient is part of (a run of any study or model, an evaluation, a published
statistic) is charged to that patient in whole before anything is computed, as mu^2. A patient whose
limit it would pass is left out of it, and nobody else is. That is a privacy filter for each person:
mu^2 adds up even when every release is chosen in view of all earlier ones (Smith and Thakurta,
arXiv 2210.17520), and what is charged is the worst case fixed beforehand, so who is left out
follows from who took part before and never from what a record says.

Who may be in a release is fixed when it begins; while it lasts the set only shrinks. So the file
is complete before the ledger hears of the release, and an old copy shows itself there. The file
holds names that only this site can compute (``tombstones``) and is kept apart from every database
that can be restored. Nothing of it leaves; what a patient is told is their own line.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hospital_node.durable import DurableFile
from hospital_node.privacy import tombstones
from twinward import gdp
from twinward.errors import BudgetError
from twinward.ids import RecordNumber, RunId

Mask = NDArray[np.bool_]
Amounts = NDArray[np.int64]

LIFETIME_DELTA = 1e-5
"""Delta at which limits for life are said, and what was spent of them."""

LIFETIME_MU2 = gdp.mu_of(3.0, LIFETIME_DELTA) ** 2
"""Default limit over the life of a patient's data: epsilon 3."""

WARNING_SHARE = 0.8
"""From this part of their limit on, a patient is shown as nearly used up."""

_PICO = 1e12
_NO_LIMIT = 2**62

_VERSIONS = (
    (
        # One row, so that a file is never read with another site's key.
        "CREATE TABLE site (key_check BLOB NOT NULL) STRICT",
        """
CREATE TABLE patients (
    number INTEGER PRIMARY KEY,   -- 0, 1, 2, ...; never given to anyone else
    name BLOB NOT NULL UNIQUE,
    own_limit INTEGER             -- in 1e-12 of mu^2
) STRICT
        """,
        """
CREATE TABLE releases (
    run TEXT PRIMARY KEY,
    what TEXT NOT NULL,
    pico_mu2 INTEGER NOT NULL,    -- charged to each patient who is part of it
    patients BLOB,                -- one bit for each number; NULL is everyone, for ever
    ended INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID
        """,
    ),
)


@dataclass(frozen=True, slots=True)
class Standing:
    """One patient's account, in mu^2: the worst case that was charged, not what was learnt."""

    spent_mu2: float
    limit_mu2: float

    @property
    def is_nearly_spent(self) -> bool:
        """Whether four fifths of the limit are gone."""
        return self.spent_mu2 >= WARNING_SHARE * self.limit_mu2


@dataclass(frozen=True, slots=True)
class Part:
    """A release that a patient was charged for, in 1e-12 of mu^2."""

    run: RunId
    what: str
    pico_mu2: int


class Lifetime:
    """The accounts of the patients in one table, in its order. Thread-safe; one process at a time.

    Args:
        path: The file; not within anything that is restored from a backup.
        key: The site key.
        records: Record numbers in the order of the patient table.
        limit_mu2: The hospital's limit for everyone; a patient's own can only be lower.

    Raises:
        BudgetError: TW4106, TW4107 as for the book; TW4311, the file was made with another key.
    """

    def __init__(
        self, path: Path, *, key: bytes, records: Sequence[RecordNumber], limit_mu2: float
    ) -> None:
        self._file = DurableFile(path, what="file of accounts", versions=_VERSIONS, alone=True)
        self._lock = threading.Lock()
        self._site_limit = _pico_limit(limit_mu2)
        try:
            self._require_key(key)
            self._numbers = self._enter(tombstones.names(key, records))
        except BaseException:
            self._file.close()
            raise
        self._total = self._count()
        self._spent: Amounts = np.zeros(len(records), dtype=np.int64)
        for pico, part in self._file.rows("SELECT pico_mu2, patients FROM releases"):
            self._spent += pico * self._mask(part)
        self._limits = self._read_limits()
        self._parts: dict[RunId, Mask] = {}

    def begin(self, run: RunId, *, what: str, mu2: float, wanted: Mask, at_least: int = 0) -> Mask:
        """Charge a release to whoever of ``wanted`` can pay; answers who that is, durably.

        Asking again for the same run changes nothing and answers the same patients.

        Raises:
            BudgetError: TW4100, fewer than ``at_least`` of them can pay, and nobody is charged;
                TW4101, it has begun at another price; TW4102, it has ended; TW4001, the price is
                none.
        """
        if not 0 < mu2 < math.inf:
            raise BudgetError(
                "a release needs a positive finite price",
                code="TW4001",
                help="take it from the plan",
            )
        pico = math.ceil(mu2 * _PICO)
        with self._lock:
            known = self._file.row(
                "SELECT pico_mu2, patients, ended FROM releases WHERE run = ?", (run,)
            )
            if known is not None:
                return self._again(run, pico, *known)
            able = self._spent + pico <= self._limits
            chosen = wanted & able
            if chosen.sum() < at_least:
                raise _too_few_left(pico / _PICO, chosen=int(chosen.sum()), at_least=at_least)
            self._file.change(
                "INSERT INTO releases (run, what, pico_mu2, patients) VALUES (?, ?, ?, ?)",
                (run, what, pico, self._bits(chosen)),
            )
            self._spent += pico * chosen
            self._parts[run] = chosen
            return chosen

    def allowed(self, run: RunId, permitted: Mask) -> Mask:
        """Who of ``permitted`` may be in the next attempt of a release that has begun.

        Part of it from the beginning, and still within their own limit, should they have lowered
        it meanwhile.

        Raises:
            BudgetError: TW4102, it has not begun or has ended.
        """
        with self._lock:
            part = self._parts.get(run)
            if part is None:
                raise _not_open()
            return permitted & part & (self._spent <= self._limits)

    def end(self, run: RunId, *, mu2: float) -> None:
        """Say what a release has cost in the end; it never becomes more than was charged."""
        with self._lock:
            known = self._file.row("SELECT pico_mu2, patients FROM releases WHERE run = ?", (run,))
            self._parts.pop(run, None)
            if known is None:
                return
            charged, part = known
            final = min(math.ceil(mu2 * _PICO), charged)
            self._file.change(
                "UPDATE releases SET pico_mu2 = ?, ended = 1 WHERE run = ?", (final, run)
            )
            self._spent -= (charged - final) * self._mask(part)

    def charge_everyone(self, reserved: Mapping[RunId, float]) -> None:
        """Charge releases that this file does not know to every patient, present and to come.

        They stand in the book or on the ledger, so this file is an old copy, or younger than they
        are; who took part is not known any more. ``reserved`` in mu^2.
        """
        with self._lock:
            known = {run for (run,) in self._file.rows("SELECT run FROM releases")}
            unknown = {run: mu2 for run, mu2 in reserved.items() if run not in known}
            with self._file.transaction() as db:
                for run, mu2 in unknown.items():
                    pico = math.ceil(mu2 * _PICO)
                    db.execute(
                        "INSERT INTO releases VALUES (?, 'forgotten', ?, NULL, 1)", (run, pico)
                    )
                    self._spent += pico

    def set_limit(self, row: int, mu2: float | None) -> None:
        """A patient's own limit, from the next attempt on; None leaves only the hospital's."""
        pico = None if mu2 is None else _pico_limit(mu2)
        with self._lock:
            self._file.change(
                "UPDATE patients SET own_limit = ? WHERE number = ?",
                (pico, int(self._numbers[row])),
            )
            self._limits[row] = self._site_limit if pico is None else min(pico, self._site_limit)

    def standing(self, row: int) -> Standing:
        """The account of the patient in this row of the table."""
        return Standing(int(self._spent[row]) / _PICO, int(self._limits[row]) / _PICO)

    def parts_of(self, name: bytes) -> list[Part]:
        """Every release that the patient of this name was charged for; also of one long erased."""
        found = self._file.row("SELECT number FROM patients WHERE name = ?", (name,))
        if found is None:
            return []
        byte, bit = divmod(found[0], 8)
        rows = self._file.rows(
            "SELECT run, what, pico_mu2, patients IS NULL, substr(patients, ?, 1) FROM releases",
            (byte + 1,),
        )
        return [
            Part(run, what, pico)
            for run, what, pico, everyone, bits in rows
            if everyone or (bits and bits[0] >> (7 - bit) & 1)
        ]

    def runs_of(self, what: str) -> list[RunId]:
        """Every release that began here under this description."""
        return [
            RunId(run)
            for (run,) in self._file.rows("SELECT run FROM releases WHERE what = ?", (what,))
        ]

    def can_pay(self, mu2: float) -> Mask:
        """Who could be part of a release at this price."""
        with self._lock:
            able: Mask = self._spent + math.ceil(mu2 * _PICO) <= self._limits
            return able

    def nearly_spent(self, *, after: float = 0.0) -> Mask:
        """Who will have used four fifths of their limit after paying so much; for staff only."""
        with self._lock:
            spent = self._spent + math.ceil(after * _PICO)
            nearly: Mask = spent >= WARNING_SHARE * self._limits
            return nearly

    def spent_mu2(self, among: Mask) -> float:
        """The most that anyone of these has spent, in mu^2; 0 if there is nobody."""
        with self._lock:
            return int(self._spent[among].max(initial=0)) / _PICO

    def most_spent(self, among: Mask) -> Standing | None:
        """The account that is used up furthest; None if there is nobody."""
        rows = np.flatnonzero(among)
        if not rows.size:
            return None
        with self._lock:
            shares = self._spent[rows] / np.maximum(self._limits[rows], 1)
        return self.standing(int(rows[np.argmax(shares)]))

    def copy_to(self, path: Path) -> None:
        """Copy the accounts to a new file, complete for every release that has begun."""
        with self._lock:
            self._file.copy_to(path)

    def close(self) -> None:
        """Close the file; everything in it is durable already."""
        self._file.close()

    def _again(self, run: RunId, pico: int, charged: int, part: bytes | None, ended: int) -> Mask:
        if ended:
            raise _not_open()
        if charged != pico or part is None:
            raise BudgetError(
                "this release has begun before on other terms",
                code="TW4101",
                help="ask the coordinator for a new run; one run has one plan",
            )
        return self._parts.setdefault(run, self._mask(part))

    def _require_key(self, key: bytes) -> None:
        check = tombstones.check_value(key)
        with self._file.transaction() as db:
            found = db.execute("SELECT key_check FROM site").fetchone()
            if found is None:
                db.execute("INSERT INTO site VALUES (?)", (check,))
            elif found[0] != check:
                raise BudgetError(
                    "the patients' accounts were made with another key of this site",
                    code="TW4311",
                    at=str(self._file.path),
                    help="bring back the organisation's keys; with others no patient would be "
                    "recognised, and all that was spent would be forgotten",
                )

    def _enter(self, names: list[bytes]) -> Amounts:
        """The number of each name; who is new gets the next one."""
        with self._file.transaction() as db:
            known = dict(db.execute("SELECT name, number FROM patients"))
            new = [name for name in names if name not in known]
            fresh = dict(zip(new, range(len(known), len(known) + len(new)), strict=True))
            db.executemany("INSERT INTO patients (name, number) VALUES (?, ?)", fresh.items())
        known |= fresh
        return np.fromiter((known[name] for name in names), dtype=np.int64, count=len(names))

    def _count(self) -> int:
        return int(self._file.rows("SELECT count(*) FROM patients")[0][0])

    def _read_limits(self) -> Amounts:
        own = np.full(self._total, _NO_LIMIT, dtype=np.int64)
        for number, limit in self._file.rows(
            "SELECT number, own_limit FROM patients WHERE own_limit IS NOT NULL"
        ):
            own[number] = limit
        return np.minimum(own[self._numbers], self._site_limit)

    def _bits(self, chosen: Mask) -> bytes:
        everyone = np.zeros(self._total, dtype=np.bool_)
        everyone[self._numbers[chosen]] = True
        return np.packbits(everyone).tobytes()

    def _mask(self, part: bytes | None) -> Mask:
        """Who in the table is part of it; who was not yet known when it began is not."""
        if part is None:
            return np.ones(self._numbers.size, dtype=np.bool_)
        everyone = np.zeros(self._total, dtype=np.bool_)
        stored = np.unpackbits(np.frombuffer(part, dtype=np.uint8))[: self._total]
        everyone[: stored.size] = stored
        return everyone[self._numbers]


def _pico_limit(mu2: float) -> int:
    """A limit in whole 1e-12; one of exactly a price holds it, and what is no number holds none."""
    if not mu2 > 0:
        return 0
    return _NO_LIMIT if mu2 * _PICO >= _NO_LIMIT else math.ceil(mu2 * _PICO)


def _not_open() -> BudgetError:
    return BudgetError(
        "there is no open reservation for this run, or it has ended",
        code="TW4102",
        help="ask the coordinator for a new run; one that has ended stays ended",
    )


def _too_few_left(price: float, *, chosen: int, at_least: int) -> BudgetError:
    return BudgetError(
        "the privacy budget does not hold another run like this for enough patients",
        code="TW4100",
        note=f"each would pay {price:.4f} of mu^2; {chosen} can, {at_least} are needed here",
        help="ask for a plan with a smaller epsilon; what was spent does not come back",
    )
