"""Makes twins of this hospital's patients, keeps them up to date, asks them, and writes it down.

Every call that concerns a patient first looks whether a twin for this patient's own care was agreed
to, and enters what it is about to do in the audit log; what cannot be entered does not happen (EU
AI Act, article 12). An answer carries intervals that held on this patient's own past, says how
often they held, and is never the model's own word alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from consent.policy import Decision
from hospital_node.twins import believed, deployment
from hospital_node.twins.answer import Answer, Told
from hospital_node.twins.released import Released
from hospital_node.twins.store import Kept, TwinStore
from models import twins
from models.calibration import of_past
from models.deployment import Deployment
from models.twin import (
    AS_PLANNED,
    Explanation,
    Population,
    Scenario,
    Series,
    require_may_be_asked,
)
from twinward.clock import Clock
from twinward.errors import ConsentError, TwinModelError
from twinward.ids import RecordNumber

Floats = NDArray[np.float64]


class Entries(Protocol):
    """Where it is entered that something is done or said for a patient."""

    def cared(
        self, what: str, patient: RecordNumber, *, twin: str, by: str, words: str = ""
    ) -> None:
        """Enter it, or raise."""
        ...


class TwinService:
    """The twins of one hospital.

    Args:
        store: Where they are kept.
        entries: The audit log.
        answered: What a patient answered with their own key (``hospital_node.care_study``).
        by: Whose commands these are.
        clock: For what is written down on agreements.
        generator: Draws copies of patients; nothing that leaves depends on it.
    """

    def __init__(
        self,
        store: TwinStore,
        *,
        entries: Entries,
        answered: Callable[[RecordNumber], Decision | None],
        by: str,
        clock: Clock,
        generator: np.random.Generator,
    ) -> None:
        self._store = store
        self._entries = entries
        self._answered = answered
        self._by = by
        self._clock = clock
        self._generator = generator

    def agree(self, record: RecordNumber) -> None:
        """Write down that the patient agreed to a twin for their own care, as staff say.

        Raises:
            ConsentError: TW7190, the patient's own answer says otherwise.
        """
        self._permitted_by_key(record)
        self._enter("twin-agreed", record)
        self._note_care(record, by=self._by)

    def end(self, record: RecordNumber) -> int:
        """Erase the patient's twins and observations; answers how many rows there were."""
        self._enter("twin-ended", record)
        return self._store.forget(record)

    def individualise(
        self,
        record: RecordNumber,
        name: str,
        history: Series,
    ) -> Explanation:
        """Make the patient's twin from their history, in place of an earlier one.

        Args:
            record: Whose.
            name: Of the twin.
            history: All that is known.

        Raises:
            ConsentError: TW7122, no agreement.
            TwinModelError: The twin's own refusals; TW7115; TW7139, it is not used here.
        """
        self._require_care(record)
        if self._store.care(record) is None:
            self._note_care(record, by="the patient's own key")
        twin = twins.get(name)
        label, start = deployment.start(self._store.populations, twin)
        self._enter("twin-individualised", record, name)
        individual = twin.individualise(start, history, generator=self._generator)
        state = twin.begin(individual, history)
        self._store.keep(record, name, Kept(label, individual, state), seen=history)
        return twin.explain(individual, start)

    def observe(self, name: str, seen: Sequence[tuple[RecordNumber, Series]]) -> None:
        """Take new observations of some patients, all or none.

        Raises:
            ConsentError: TW7122, no agreement of one of them; nothing was taken.
            TwinModelError: TW7123, one of them has no such twin; nothing was taken.
        """
        twin = twins.get(name)
        changes = []
        for record, series in seen:
            self._require_care(record)
            known = self._store.state(record, name)
            if known is None:
                raise _no_twin(name)
            changes.append((record, twin.assimilate(*known, series), series))
        self._store.advance(name, changes)

    def ask(
        self,
        record: RecordNumber,
        name: str,
        scenarios: Sequence[Scenario] = (),
        *,
        horizon_minutes: float,
    ) -> Answer:
        """The forecast, and what would differ under each scenario.

        Raises:
            ConsentError: TW7122, no agreement.
            TwinModelError: TW7123, no twin; TW7110, TW7111, it cannot answer this; TW7139.
        """
        told = self.courses(record, name, scenarios, horizon_minutes=horizon_minutes)
        samples = told.courses.samples
        middle = samples.mean(axis=1)
        half = np.where(np.isinf(told.reach), np.inf, told.reach * told.courses.scale)
        change = samples[1:] - samples[:1]
        spread = np.percentile(change, [5, 95], axis=1)
        return Answer(
            spec=told.spec,
            population=told.population,
            asked_at=told.asked_at,
            scenarios=(AS_PLANNED.title, *(scenario.title for scenario in scenarios)),
            minutes=told.courses.minutes,
            middle=middle,
            low=middle - half,
            high=middle + half,
            change=np.stack([change.mean(axis=1), *spread], axis=1),
            coverage=told.coverage,
            recent=told.recent,
            skill=told.skill,
        )

    def courses(
        self,
        record: RecordNumber,
        name: str,
        scenarios: Sequence[Scenario],
        *,
        horizon_minutes: float,
    ) -> Told:
        """Every copy's course as planned and under each scenario. Stays at the hospital.

        Raises:
            ConsentError: TW7122, no agreement.
            TwinModelError: TW7123, no twin; TW7110, TW7111, it cannot answer this; TW7139.
        """
        self._require_care(record)
        twin = twins.get(name)
        deployment.start(self._store.populations, twin)
        require_may_be_asked(twin.spec, scenarios, horizon_minutes=horizon_minutes)
        kept, history = self.past(record, name, entered="twin-asked")
        told = twin.simulate(
            kept.individual, kept.state, (AS_PLANNED, *scenarios), horizon_minutes=horizon_minutes
        )
        pasts = believed.pasts(twin, kept, history, horizon_minutes=horizon_minutes)
        calibrations = {horizon: of_past(past) for horizon, past in pasts.items()}
        return Told(
            spec=twin.spec,
            population=kept.population,
            asked_at=float(history.minutes[-1]),
            courses=told,
            reach=believed.reach(calibrations, told.minutes),
            coverage=tuple(
                (horizon, known.coverage, known.seen) for horizon, known in calibrations.items()
            ),
            recent=believed.recent(history, told.output),
            skill=believed.skill(pasts),
        )

    def past(self, record: RecordNumber, name: str, *, entered: str) -> tuple[Kept, Series]:
        """A patient's twin and all that was observed for it; stays here, and is entered as this.

        Raises:
            ConsentError: TW7122, no agreement.
            TwinModelError: TW7123, no twin.
        """
        self._require_care(record)
        kept, history = self._require(record, name), self._store.history(record, name)
        if history is None:
            raise _no_twin(name)
        self._enter(entered, record, name)
        return kept, history

    def care(self, record: RecordNumber) -> Mapping[str, str]:
        """What is written down on a twin for this patient's care.

        Raises:
            ConsentError: TW7122, no agreement.
        """
        self._require_care(record)
        return self._store.care(record) or {}

    def note_care(self, record: RecordNumber, words: Mapping[str, str], *, entered: str) -> None:
        """Write these beside what is written down, entered first as this.

        Raises:
            ConsentError: TW7122, no agreement.
        """
        before = self.care(record)
        self._enter(entered, record)
        self._store.set_care(record, {**before, **words})

    def explain(self, record: RecordNumber, name: str) -> Explanation:
        """What is particular about this patient, against the population the twin was made from.

        Raises:
            ConsentError: TW7122.
            TwinModelError: TW7123.
        """
        self._require_care(record)
        twin = twins.get(name)
        kept = self._require(record, name)
        self._enter("twin-shown", record, name)
        known = deployment.named(self._store.populations, twin, kept.population)
        return twin.explain(kept.individual, known)

    def starts(self, name: str) -> dict[str, Population]:
        """What new twins of this name start from here, by its label, and the public start.

        Raises:
            TwinModelError: TW7115; TW7139, it is not used here.
        """
        twin = twins.get(name)
        label, start = deployment.start(self._store.populations, twin)
        return {label: start, deployment.PUBLIC: twin.population()}

    def histories(self, name: str, *, entered: str = "twin-validated") -> list[Series]:
        """What was observed of every patient who agrees and has this twin, to judge the twin by.

        Nobody is named in it, and it stays at the hospital. Whoever withdrew is not in it.
        """
        found = []
        for note in self._store.notes():
            record = RecordNumber(note["record"])
            answer = self._answered(record)
            history = self._store.history(record, name)
            if history is None or self._store.state(record, name) is None:
                continue
            if answer is None or answer.permit:
                self._enter(entered, record, name)
                found.append(history)
        return found

    def take_over(self, released: Released) -> None:
        """Keep a released population; twins start from it once ``deploy`` says so."""
        deployment.take_over(self._store.populations, released)

    def deploy(self, name: str) -> Deployment:
        """Decide anew what twins of this name start from, by the patients who agree and have one.

        Raises:
            TwinModelError: TW7189, TW7186, TW7139.
        """
        past = self.histories(name, entered="twin-centre")
        return deployment.deploy(self._store.populations, name, past)

    def override(self, record: RecordNumber, name: str, *, reason: str) -> None:
        """Enter that a clinician decided against an answer, and why (EU AI Act, article 14)."""
        if not reason.strip():
            raise TwinModelError(
                "an override needs a reason",
                code="TW7124",
                help="say in a sentence why the answer was not followed",
            )
        self._require(record, name)
        self._enter("twin-overridden", record, name, words=reason)

    def _enter(self, what: str, record: RecordNumber, twin: str = "", *, words: str = "") -> None:
        self._entries.cared(what, record, twin=twin, by=self._by, words=words)

    def _note_care(self, record: RecordNumber, *, by: str) -> None:
        note = {"record": record, "by": by, "since": f"{self._clock.now():.0f}"}
        self._store.set_care(record, note)

    def _require_care(self, record: RecordNumber) -> None:
        if not self._permitted_by_key(record) and self._store.care(record) is None:
            raise ConsentError(
                "this patient has not agreed to a twin for their own care",
                code="TW7122",
                help="ask with `twinward twin letter`, or at the desk: `twinward twin agree`",
            )

    def _permitted_by_key(self, record: RecordNumber) -> bool:
        """Whether the patient's own answer permits it; it comes before the desk's word.

        Raises:
            ConsentError: TW7190, it does not.
        """
        answer = self._answered(record)
        if answer is not None and not answer.permit:
            raise ConsentError(
                "this patient's own answer does not permit a twin for their care now",
                code="TW7190",
                note=answer.rule.words,
                help="give the patient a new letter with `twinward twin letter` if they wish so",
            )
        return answer is not None

    def _require(self, record: RecordNumber, name: str) -> Kept:
        kept = self._store.load(record, name)
        if kept is None:
            raise _no_twin(name)
        return kept


def _no_twin(name: str) -> TwinModelError:
    return TwinModelError(
        f"this patient has no twin `{name}` here",
        code="TW7123",
        help="make one from the patient's history with `twinward twin individualise`",
    )
