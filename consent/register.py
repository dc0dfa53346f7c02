"""What the hospital's register says of patients, and who may speak for whom. Stays in the vault.

Every change is one transaction, which also tells whoever keeps a cohort: from its next mask on the
change is in force.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from consent import purposes
from consent.standing import NOTHING_KNOWN, Mandate, Role, Standing
from consent.store import Database
from consent.vault import Vault, note_change
from twinward.errors import ConsentError
from twinward.ids import RecordNumber

_MANDATE = "select id, record, role, holder, purposes, begins, ends, given_by from mandates"


@dataclass(frozen=True, slots=True)
class KeptMandate:
    """A mandate as it is kept: its number, whose it is, who holds it, and which it stands on."""

    number: int
    record: RecordNumber
    holder: str
    mandate: Mandate
    given_by: int | None


class Register:
    """Standing of patients and mandates, over one vault."""

    def __init__(self, vault: Vault) -> None:
        self._store = vault.store
        self._hidden = vault.hidden

    def standing(self, record: RecordNumber) -> Standing:
        """What is known of one patient."""
        row = self._store.row(
            "select of_age_at, died_at, objected_at from standings where record = ?",
            (self._hidden.hide(record),),
        )
        return Standing(*row) if row else NOTHING_KNOWN

    def standings(self) -> dict[RecordNumber, Standing]:
        """What is known of all patients of whom something is known."""
        rows = self._store.rows("select record, of_age_at, died_at, objected_at from standings")
        return {RecordNumber(self._hidden.show(record)): Standing(*rest) for record, *rest in rows}

    def note(self, record: RecordNumber, standing: Standing) -> None:
        """Write down what is known of a patient now, in place of what was."""
        with self._store.transaction() as database:
            hidden = self._hidden.hide(record)
            database.execute("delete from standings where record = ?", (hidden,))
            database.execute(
                "insert into standings values (?, ?, ?, ?)",
                (hidden, standing.of_age_at, standing.died_at, standing.objected_at),
            )
            _tell(database, hidden)

    def mandate(self, number: int | None) -> Mandate | None:
        """The mandate of this number with those that it stands on; None for None."""
        return None if number is None else self._kept(number).mandate

    def patient_of(self, number: int) -> RecordNumber:
        """For whom the mandate of this number speaks.

        Raises:
            ConsentError: TW8032.
        """
        return self._kept(number).record

    def mandates(self, record: RecordNumber) -> list[KeptMandate]:
        """All that were ever given for a patient, oldest first."""
        rows = self._store.rows(
            f"{_MANDATE} where record = ? order by id", (self._hidden.hide(record),)
        )
        return [self._read(row) for row in rows]

    def give(
        self, record: RecordNumber, mandate: Mandate, *, holder: str, given_by: int | None = None
    ) -> int:
        """Keep a mandate; its number. ``mandate.given_by`` follows from ``given_by``.

        Raises:
            ConsentError: TW8030 not in its words or time, TW8031 beyond whoever gives it.
        """
        whole = replace(mandate, given_by=self.mandate(given_by))
        only_stops = mandate.role is Role.CHOSEN and mandate.purposes == 0
        if not (holder.strip() and mandate.begins < mandate.ends) or not (
            only_stops or purposes.well_formed(mandate.purposes)
        ):
            raise ConsentError(
                "this is not a complete mandate",
                code="TW8030",
                note="it needs a holder, a beginning before its end, and at least one purpose",
                help="write down who may say yes, to what, from when until when",
            )
        self._require_within(whole, record, given_by)
        with self._store.transaction() as database:
            ((number,),) = database.execute(
                "insert into mandates (record, role, holder, purposes, begins, ends, given_by)"
                " values (?, ?, ?, ?, ?, ?, ?) returning id",
                (
                    self._hidden.hide(record),
                    mandate.role,
                    self._hidden.hide(holder.strip()),
                    mandate.purposes.to_bytes(16),
                    mandate.begins,
                    mandate.ends,
                    given_by,
                ),
            ).fetchall()
        return int(number)

    def end(self, number: int, *, of: RecordNumber, now: int) -> None:
        """End a patient's mandate now, with all that was granted under it, or handed on from it.

        One that has ended stays so.

        Raises:
            ConsentError: TW8032, this patient has no mandate of this number.
        """
        if self._kept(number).record != of:
            raise _no_mandate(number)
        with self._store.transaction() as database:
            database.execute(
                "update mandates set ends = ? where id = ? and ends > ?", (now, number, now)
            )
            _tell(database, self._hidden.hide(of))

    def _require_within(self, whole: Mandate, record: RecordNumber, given_by: int | None) -> None:
        giver = whole.given_by
        if giver is None:
            return
        exceeds = (
            self._kept(given_by or 0).record != record
            or not giver.covers(whole.purposes)
            or whole.begins < max(one.begins for one in giver.chain())
            or whole.ends > min(one.ends for one in giver.chain())
            or (whole.role is Role.GUARDIAN) != (giver.role is Role.GUARDIAN)
        )
        if exceeds:
            raise ConsentError(
                "nobody can hand on more than they hold",
                code="TW8031",
                help="name fewer purposes, keep every limit, and stay inside the giver's time",
            )

    def _kept(self, number: int) -> KeptMandate:
        row = self._store.row(f"{_MANDATE} where id = ?", (number,))
        if row is None:
            raise _no_mandate(number)
        return self._read(row)

    def _read(self, row: tuple[int, bytes, str, bytes, bytes, int, int, int | None]) -> KeptMandate:
        number, record, role, holder, mask, begins, ends, given_by = row
        mandate = Mandate(Role(role), int.from_bytes(mask), begins, ends, self.mandate(given_by))
        whose, named = self._hidden.show(record), self._hidden.show(holder)
        return KeptMandate(number, RecordNumber(whose), named, mandate, given_by)


def _no_mandate(number: int) -> ConsentError:
    return ConsentError(
        f"this patient has no mandate {number}",
        code="TW8032",
        help="list a patient's mandates with `twinward node mandates`",
    )


def _tell(database: Database, hidden: bytes) -> None:
    """The patient's permission may have changed in every study that they ever answered."""
    studies = database.execute(
        "select distinct study from bindings where record = ?", (hidden,)
    ).fetchall()
    for (study,) in studies:
        note_change(database, study, hidden)
