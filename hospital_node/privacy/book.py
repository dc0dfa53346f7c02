"""The book of runs: reserved before anything is computed, marked before anything leaves.

Amounts are mu^2 (see ``twinward.gdp``). The book knows runs and not patients: what each run may
send, what it has sent, and what it costs whoever is part of it. Whether a patient can pay is
answered by their own account alone (``lifetime``); ``spending`` keeps the two together. The whole
reservation of a run counts from the moment it is made. A crash gives nothing back; closing a
finished run gives back the attempts that were never marked, if a part of the run costs its share
(not when patients are sampled).

If the process dies
    after ``reserve``, before anything else: the reservation stands and is paid for;
    after ``mark``, before the vector is sent: the attempt is paid for though nothing left;
    within either: SQLite keeps all of the transaction or none (``durable``).
If an old copy of the file is put back
    from before a reservation that the ledger has: ``fence`` refuses it;
    from before a mark, while the machine is up: this module refuses it (``continuity``);
    at any other time: a run that was open is never continued nor given back, so marks that are
    lost with the copy were paid for when the run was reserved.
"""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

from hospital_node.durable import DurableFile
from hospital_node.privacy.continuity import Continuity
from twinward.errors import BudgetError
from twinward.ids import RunId

_PICO = 1e12
"""Amounts are whole 1e-12 of mu^2, rounded up, so that they add up exactly."""

_VERSIONS = (
    (
        """
CREATE TABLE runs (
    run TEXT PRIMARY KEY,
    plan BLOB NOT NULL,
    attempts INTEGER NOT NULL CHECK (attempts > 0),
    pico_mu2 INTEGER NOT NULL CHECK (pico_mu2 > 0),  -- of one attempt
    closed INTEGER NOT NULL DEFAULT 0
) STRICT
        """,
        """
CREATE TABLE marks (
    run TEXT NOT NULL REFERENCES runs,
    epoch INTEGER NOT NULL,
    step INTEGER NOT NULL,
    PRIMARY KEY (run, epoch, step)
) STRICT, WITHOUT ROWID
        """,
    ),
    (  # places charged: from low, up to but without high
        "ALTER TABLE runs ADD COLUMN low REAL NOT NULL DEFAULT 0",
        "ALTER TABLE runs ADD COLUMN high REAL NOT NULL DEFAULT 1",
    ),
    (
        "ALTER TABLE runs ADD COLUMN divisible INTEGER NOT NULL DEFAULT 1",
        # Open when a book was opened that cannot prove to be the latest: paid for and over.
        "ALTER TABLE runs ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE runs ADD COLUMN on_ledger INTEGER NOT NULL DEFAULT 0",
        """
CREATE TABLE state (
    changes INTEGER NOT NULL,  -- to reservations, marks and closings, ever
    fence INTEGER NOT NULL,    -- number of the newest process of this book, on the ledger
    raising INTEGER NOT NULL   -- 1 while the next number is being asked for
) STRICT
        """,
        "INSERT INTO state VALUES (0, 0, 0)",
    ),
    (  # who pays stands in the patients' own accounts since then
        "ALTER TABLE runs DROP COLUMN low",
        "ALTER TABLE runs DROP COLUMN high",
    ),
)

_CHANGED = "UPDATE state SET changes = changes + 1 RETURNING changes"

_COST = """
SELECT count(*), coalesce(sum(pico_mu2 * iif(closed AND divisible,
    (SELECT count(*) FROM marks WHERE marks.run = runs.run), attempts)), 0)
FROM runs WHERE ?1 IS NULL OR run = ?1
"""
"""How many runs there are and what they cost: all of them, or the one that is named."""

_MARK = """
INSERT INTO marks SELECT run, ?, ? FROM runs WHERE run = ? AND NOT closed AND NOT sealed
    AND attempts > (SELECT count(*) FROM marks WHERE marks.run = runs.run)
"""


class BudgetBook:
    """One hospital's durable record of runs. Safe to use from several threads.

    ``memory`` is a folder that does not outlive the machine's uptime (``continuity.MEMORY``). With
    it a killed process can go on with its run; without it, open runs are over when a book is
    opened.

    Raises:
        BudgetError: TW4106, the file is not a book that can be used; TW4107, it is a newer one;
            TW4108, it is older than the one that this machine wrote last.
    """

    def __init__(self, path: Path, *, memory: Path | None = None) -> None:
        self._file = DurableFile(path, what="privacy book", versions=_VERSIONS)
        self._continuity = Continuity(path, memory=memory)
        try:
            self._take_up()
        except BaseException:
            self._file.close()
            raise

    def _take_up(self) -> None:
        """Refuse an old copy; end for good what was open in a book that may be one."""
        noted = self._continuity.last()
        with self._file.transaction() as db:
            (changes,) = db.execute("SELECT changes FROM state").fetchone()
            if noted is not None and changes < noted:
                raise BudgetError(
                    "this privacy book is older than the one that this machine wrote last",
                    code="TW4108",
                    at=str(self._file.path),
                    help="bring back the latest book of this node; if it is lost, `twinward node "
                    "recover` charges every patient for what this one has forgotten",
                )
            # One change may be on disk and not yet noted: its vector had not left.
            if noted is None or changes - noted > 1:
                db.execute("UPDATE runs SET sealed = 1 WHERE NOT closed AND NOT sealed")
        self._continuity.note(changes)

    def reserve(
        self,
        run: RunId,
        *,
        plan_digest: bytes,
        attempts: int,
        mu2_per_attempt: float,
        divisible: bool = True,
    ) -> int:
        """Set aside a whole run, durably; answers its cost in millionths, for the ledger.

        Asking again on the same terms changes nothing and gives the same answer. A run that is not
        ``divisible`` is paid for in whole, however few of its attempts are made.

        Raises:
            BudgetError: TW4101, this run was reserved on other terms; TW4102, it is closed;
                TW4109, its marks cannot be proven complete; TW4001, the amounts are no privacy
                parameters.
        """
        if attempts < 1 or not 0 < mu2_per_attempt < math.inf:
            raise BudgetError(
                "a reservation needs at least one attempt and a positive finite cost",
                code="TW4001",
                help="take both from the plan",
            )
        pico = math.ceil(mu2_per_attempt * _PICO)
        with self._file.transaction() as db:
            known = db.execute("SELECT plan, attempts, pico_mu2, divisible, closed, sealed"
                               " FROM runs WHERE run = ?", (run,)).fetchone()  # fmt: skip
            terms = (plan_digest, attempts, pico, int(divisible))
            if known is None:
                db.execute(
                    "INSERT INTO runs (run, plan, attempts, pico_mu2, divisible)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (run, *terms),
                )
                (changes,) = db.execute(_CHANGED).fetchone()
            elif known[:4] != terms:
                raise BudgetError(
                    "this run was reserved before on other terms",
                    code="TW4101",
                    help="ask the coordinator for a new run; one run has one plan",
                )
            elif known[4]:
                raise _not_open()
            elif known[5]:
                raise _sealed()
        if known is None:
            self._continuity.note(changes)
        return _micro(attempts * pico)

    def mark(self, run: RunId, *, epoch: int, step: int) -> None:
        """Charge one attempt durably; call it after noising and before a vector may leave.

        Costs one fsync.

        Raises:
            BudgetError: TW4102, the run is not reserved or is closed; TW4103, its attempts are
                gone; TW4104, this attempt was marked before, so its vector may have left; TW4109,
                the run was begun in a book that this one may be an old copy of.
        """
        try:
            with self._file.transaction() as db:
                done = db.execute(_MARK, (epoch, step, run)).rowcount
                (changes,) = db.execute(_CHANGED).fetchone()
        except sqlite3.IntegrityError as error:
            raise BudgetError(
                f"step {step} of epoch {epoch} was charged before: its vector may have left",
                code="TW4104",
                help="wait for the next epoch; the same attempt is never made twice",
            ) from error
        self._continuity.note(changes)
        if done:
            return
        if self._file.row("SELECT 1 FROM runs WHERE run = ? AND sealed", (run,)):
            raise _sealed()
        if self.attempts_left(run) is None:
            raise _not_open()
        raise BudgetError(
            "the attempts that were reserved for this run are gone",
            code="TW4103",
            help="let the run end; a new run needs a new reservation",
        )

    def close_run(self, run: RunId) -> None:
        """Say that the run is over for good: attempts never marked are given back.

        Closing twice, or a run never reserved, changes nothing; nor does closing one whose marks
        cannot be proven complete: it stays paid for in whole.
        """
        with self._file.transaction() as db:
            db.execute("UPDATE runs SET closed = 1 WHERE run = ? AND NOT sealed", (run,))
            (changes,) = db.execute(_CHANGED).fetchone()
        self._continuity.note(changes)

    def attempts_left(self, run: RunId) -> int | None:
        """How many vectors may still leave in this run; None if it is not reserved or is over."""
        row = self._file.row(
            "SELECT attempts - (SELECT count(*) FROM marks WHERE marks.run = runs.run)"
            " FROM runs WHERE run = ? AND NOT closed AND NOT sealed",
            (run,),
        )
        return None if row is None else int(row[0])

    def marked(self, run: RunId) -> tuple[int, int]:
        """The highest epoch in which this run was charged here, and how often; zeros if never."""
        row = self._file.row(
            "SELECT coalesce(max(epoch), 0), count(*) FROM marks WHERE run = ?", (run,)
        )
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    def spent_mu2(self) -> float:
        """What a patient who was part of every run has spent: nobody has spent more.

        Marked attempts of closed runs, all reserved ones of others.
        """
        _, pico = self._file.rows(_COST, (None,))[0]
        return int(pico) / _PICO

    def cost_mu2(self, run: RunId) -> float | None:
        """What one run costs whoever is part of it, as things stand; None if it is not reserved."""
        found, pico = self._file.rows(_COST, (run,))[0]
        return int(pico) / _PICO if found else None

    def reserved(self) -> dict[RunId, int]:
        """Every reservation ever made, in millionths of mu^2, given back or not."""
        rows = self._file.rows("SELECT run, attempts * pico_mu2 FROM runs")
        return {RunId(run): _micro(pico) for run, pico in rows}

    def runs_of(self, plan_digest: bytes) -> set[RunId]:
        """Every run, and every evaluation of one, that was ever reserved under a plan."""
        rows = self._file.rows("SELECT run FROM runs WHERE plan = ?", (plan_digest,))
        return {RunId(run) for (run,) in rows}

    def not_on_ledger(self) -> list[RunId]:
        """Reservations that were not seen on the ledger; some may be there all the same."""
        return [
            RunId(run) for (run,) in self._file.rows("SELECT run FROM runs WHERE NOT on_ledger")
        ]

    def seen_on_ledger(self, run: RunId) -> None:
        """Note that this reservation stands on the ledger."""
        self._file.change("UPDATE runs SET on_ledger = 1 WHERE run = ?", (run,))

    def charge_forgotten(self, name: RunId, *, micro_mu2: int) -> None:
        """Charge every patient for what this book has forgotten; see ``fence.recover``."""
        with self._file.transaction() as db:
            db.execute(
                "INSERT INTO runs (run, plan, attempts, pico_mu2, divisible, sealed, on_ledger)"
                " VALUES (?, x'', 1, ?, 0, 1, 1)",
                (name, micro_mu2 * 10**6),
            )
            (changes,) = db.execute(_CHANGED).fetchone()
        self._continuity.note(changes)

    def fence(self) -> tuple[int, bool]:
        """The fencing number of this book's newest process, and whether another is asked for."""
        number, raising = self._file.rows("SELECT fence, raising FROM state")[0]
        return int(number), bool(raising)

    def set_fence(self, number: int, *, raising: bool) -> None:
        """Write both down, durably; see ``fence.Fence``."""
        self._file.change("UPDATE state SET fence = ?, raising = ?", (number, int(raising)))

    def close(self) -> None:
        """Close the file; everything in it is durable already. Closing twice changes nothing."""
        if not self._file.is_open:
            return
        if not self._file.row("SELECT 1 FROM runs WHERE NOT closed AND NOT sealed"):
            self._continuity.forget()  # nothing is under way that could be taken up again
        self._file.close()


def _micro(pico: int) -> int:
    return -(-pico // 10**6)


def _not_open() -> BudgetError:
    return BudgetError(
        "there is no open reservation for this run",
        code="TW4102",
        help="reserve the run first; a run that was closed stays closed",
    )


def _sealed() -> BudgetError:
    return BudgetError(
        "this run was under way in an earlier book, of which this may be an old copy",
        code="TW4109",
        help="let the run end without this hospital; it is paid for, and the next run is open",
    )
