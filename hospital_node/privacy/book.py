"""The book of what was spent: reserved before anything is computed, marked before anything leaves.

Amounts are mu^2 (see ``twinward.gdp``) for the patient of this hospital who took part in all runs;
the worst case, so it says nothing about anyone. Patients who train and patients who are kept out
for evaluation never pay for the same release: every patient has a place on [0, 1) that nobody
chose (``hospital_node.holdout``), a reservation says which places it charges, and the worst case is
that of the place that paid most. The whole reservation of a run counts from the
moment it is made. A crash gives nothing back; closing a finished run gives back the attempts that
were never marked.

If the process dies
    after ``reserve``, before anything else: the reservation stands and is paid for;
    after ``mark``, before the vector is sent: the attempt is paid for though nothing left;
    within either: SQLite keeps all of the transaction or none (WAL, ``synchronous=FULL``).
"""

from __future__ import annotations

import math
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twinward import gdp
from twinward.errors import BudgetError
from twinward.ids import RunId

LIFETIME_MU2 = gdp.mu_of(3.0, 1e-5) ** 2
"""Default limit over the life of a patient's data: epsilon 3 at delta 1e-5."""

_VERSION = 2
EVERYONE = (0.0, 1.0)
"""All places: a release that any patient may be part of."""
_PICO = 1e12
"""Amounts are whole 1e-12 of mu^2, rounded up, so that they add up exactly."""

_SCHEMA = """
CREATE TABLE runs (
    run TEXT PRIMARY KEY,
    plan BLOB NOT NULL,
    attempts INTEGER NOT NULL CHECK (attempts > 0),
    pico_mu2 INTEGER NOT NULL CHECK (pico_mu2 > 0),  -- of one attempt
    closed INTEGER NOT NULL DEFAULT 0,
    low REAL NOT NULL DEFAULT 0,  -- places charged: from low, up to but without high
    high REAL NOT NULL DEFAULT 1
) STRICT;
CREATE TABLE marks (
    run TEXT NOT NULL REFERENCES runs,
    epoch INTEGER NOT NULL,
    step INTEGER NOT NULL,
    PRIMARY KEY (run, epoch, step)
) STRICT, WITHOUT ROWID;
"""

_FROM_1_TO_2 = (
    "ALTER TABLE runs ADD COLUMN low REAL NOT NULL DEFAULT 0",
    "ALTER TABLE runs ADD COLUMN high REAL NOT NULL DEFAULT 1",
)

_SPENT = """
WITH cost AS (SELECT low, high, pico_mu2 * iif(closed,
        (SELECT count(*) FROM marks WHERE marks.run = runs.run), attempts) AS pico FROM runs),
    place AS (SELECT :low AS at UNION SELECT low FROM runs WHERE low > :low AND low < :high)
SELECT max((SELECT coalesce(sum(pico), 0) FROM cost WHERE low <= at AND at < high)) FROM place
"""
"""The most that any place from ``low`` to ``high`` has paid: it changes only where a run begins."""

_MARK = """
INSERT INTO marks SELECT run, ?, ? FROM runs WHERE run = ? AND NOT closed
    AND attempts > (SELECT count(*) FROM marks WHERE marks.run = runs.run)
"""


class BudgetBook:
    """One hospital's durable privacy account. Safe to use from several threads.

    ``lifetime_mu2`` is the hospital's own limit; it is read at every reservation, so lowering it
    takes effect at once and raising it is a decision of the hospital alone.

    Raises:
        BudgetError: TW4106, the file is not a book that can be used; TW4107, it is a newer one.
    """

    def __init__(self, path: Path, *, lifetime_mu2: float = LIFETIME_MU2) -> None:
        self._path = path
        self._lifetime = lifetime_mu2
        self._lock = threading.Lock()
        with self._refusing():
            _create_private(path)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._prepare()

    def reserve(
        self,
        run: RunId,
        *,
        plan_digest: bytes,
        attempts: int,
        mu2_per_attempt: float,
        limit_mu2: float | None = None,
        places: tuple[float, float] = EVERYONE,
    ) -> int:
        """Set aside a whole run, durably; answers its cost in millionths, for the ledger.

        Asking again on the same terms changes nothing and gives the same answer. Only patients
        whose place is in ``places`` may be part of what is sent.

        Raises:
            BudgetError: TW4100, it would pass the limit; TW4101, this run was reserved on other
                terms; TW4102, it is closed; TW4001, the amounts are no privacy parameters.
        """
        if attempts < 1 or not 0 < mu2_per_attempt < math.inf:
            raise BudgetError(
                "a reservation needs at least one attempt and a positive finite cost",
                code="TW4001",
                help="take both from the plan",
            )
        pico = math.ceil(mu2_per_attempt * _PICO)
        limit = min(self._lifetime, math.inf if limit_mu2 is None else limit_mu2)
        with self._transaction() as db:
            known = db.execute("SELECT plan, attempts, pico_mu2, low, high, closed FROM runs"
                               " WHERE run = ?", (run,)).fetchone()  # fmt: skip
            if known is None:
                spent = db.execute(_SPENT, _between(places)).fetchone()[0]
                # A limit of exactly this price holds it: rounding each attempt up is not a price.
                if spent + attempts * pico > limit * _PICO + attempts:
                    raise _exhausted(spent / _PICO, attempts * pico / _PICO, limit)
                db.execute(
                    "INSERT INTO runs (run, plan, attempts, pico_mu2, low, high)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (run, plan_digest, attempts, pico, *places),
                )
            elif known[:5] != (plan_digest, attempts, pico, *places):
                raise BudgetError(
                    "this run was reserved before on other terms",
                    code="TW4101",
                    help="ask the coordinator for a new run; one run has one plan",
                )
            elif known[5]:
                raise _not_open()
        return _micro(attempts * pico)

    def mark(self, run: RunId, *, epoch: int, step: int) -> None:
        """Charge one attempt durably; call it after noising and before a vector may leave.

        Costs one fsync.

        Raises:
            BudgetError: TW4102, the run is not reserved or is closed; TW4103, its attempts are
                gone; TW4104, this attempt was marked before, so its vector may have left.
        """
        try:
            with self._refusing():
                done = self._db.execute(_MARK, (epoch, step, run)).rowcount
        except sqlite3.IntegrityError as error:
            raise BudgetError(
                f"step {step} of epoch {epoch} was charged before: its vector may have left",
                code="TW4104",
                help="wait for the next epoch; the same attempt is never made twice",
            ) from error
        if done:
            return
        if self.attempts_left(run) is None:
            raise _not_open()
        raise BudgetError(
            "the attempts that were reserved for this run are gone",
            code="TW4103",
            help="let the run end; a new run needs a new reservation",
        )

    def close_run(self, run: RunId) -> None:
        """Say that the run is over for good: attempts never marked are given back.

        Closing twice, or a run never reserved, changes nothing.
        """
        with self._refusing():
            self._db.execute("UPDATE runs SET closed = 1 WHERE run = ?", (run,))

    def attempts_left(self, run: RunId) -> int | None:
        """How many vectors may still leave in this run; None if it is not reserved or is closed."""
        with self._refusing():
            row = self._db.execute(
                "SELECT attempts - (SELECT count(*) FROM marks WHERE marks.run = runs.run)"
                " FROM runs WHERE run = ? AND NOT closed",
                (run,),
            ).fetchone()
        return None if row is None else int(row[0])

    def marked(self, run: RunId) -> tuple[int, int]:
        """The highest epoch in which this run was charged here, and how often; zeros if never."""
        with self._refusing():
            row = self._db.execute(
                "SELECT coalesce(max(epoch), 0), count(*) FROM marks WHERE run = ?", (run,)
            ).fetchone()
        return int(row[0]), int(row[1])

    def spent_mu2(self, places: tuple[float, float] = EVERYONE) -> float:
        """Worst-case mu^2 spent: marked attempts of closed runs, all reserved ones of others.

        The worst of all patients, or of those whose place is in ``places``.
        """
        with self._refusing():
            return int(self._db.execute(_SPENT, _between(places)).fetchone()[0]) / _PICO

    def left_mu2(self) -> float:
        """What a new run may cost at most."""
        return max(0.0, self._lifetime - self.spent_mu2())

    def reserved_micro_mu2(self) -> int:
        """All reservations ever made, in millionths, given back or not: what the ledger adds up."""
        with self._refusing():
            rows = self._db.execute("SELECT attempts * pico_mu2 FROM runs").fetchall()
        return sum(_micro(row[0]) for row in rows)

    def require_at_least(self, ledger_micro_mu2: int) -> None:
        """Refuse to go on with a book that knows less than the ledger: a restored or copied one.

        Raises:
            BudgetError: TW4105.
        """
        known = self.reserved_micro_mu2()
        if known < ledger_micro_mu2:
            raise BudgetError(
                "the privacy book of this node knows less than the ledger",
                code="TW4105",
                at=str(self._path),
                note=f"reserved here {known}, on the ledger {ledger_micro_mu2}, in 1e-6 of mu^2",
                help="this is an old copy or a backup: bring back the latest book of this node; "
                "it is not allowed to train with this one",
            )

    def close(self) -> None:
        """Close the file; everything in it is durable already."""
        with self._lock:
            self._db.close()

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.execute("BEGIN IMMEDIATE")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _SCHEMA.split(";\n"):
                self._db.execute(statement)
        elif version == 1:
            for statement in _FROM_1_TO_2:
                self._db.execute(statement)
        if version < _VERSION:
            self._db.execute(f"PRAGMA user_version = {_VERSION}")
        self._db.execute("COMMIT")
        if version > _VERSION:
            raise BudgetError(
                f"the privacy book has version {version}; this program knows up to {_VERSION}",
                code="TW4107",
                at=str(self._path),
                help="install the newer release that wrote it; never start with an empty book",
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, alone on the file from the first read on."""
        with self._refusing():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """One caller at a time; trouble with the file becomes a refusal, never a lost charge."""
        try:
            with self._lock:
                yield
        except sqlite3.IntegrityError:
            raise
        except (OSError, sqlite3.Error) as error:
            raise BudgetError(
                f"the privacy book cannot be used: {error}",
                code="TW4106",
                at=str(self._path),
                help="check disk space and permissions; if it is damaged, bring back the latest "
                "copy: without its book a node does not train",
            ) from error


def _between(places: tuple[float, float]) -> dict[str, float]:
    low, high = places
    if not 0 <= low < high <= 1:
        raise BudgetError(
            "a reservation must say which patients it charges",
            code="TW4001",
            help="give places from low to high within 0 and 1; take them from the plan",
        )
    return {"low": low, "high": high}


def _micro(pico: int) -> int:
    return -(-pico // 10**6)


def _create_private(path: Path) -> None:
    """Create the file readable by its owner only, and make its name durable."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _exhausted(spent: float, cost: float, limit: float) -> BudgetError:
    return BudgetError(
        "the privacy budget does not hold another run like this",
        code="TW4100",
        note=f"spent {spent:.4f}, this run {cost:.4f}, limit {limit:.4f} of mu^2",
        help="ask for a plan with a smaller epsilon; what was spent does not come back",
    )


def _not_open() -> BudgetError:
    return BudgetError(
        "there is no open reservation for this run",
        code="TW4102",
        help="reserve the run first; a run that was closed stays closed",
    )
