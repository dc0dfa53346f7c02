"""All questions by name, and asking one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ledger.questions import (
    approvals,
    consents,
    logged,
    members,
    models,
    staff,
    uses,
    visits,
    withdrawals,
)
from ledger.questions.answer import Answer
from ledger.questions.question import NoSource, Question, Values
from ledger.questions.scope import topics_in_scope
from ledger.questions.sources import Sources
from twinward.errors import UsageError

_LIBRARY = (
    uses.USES,
    withdrawals.AFTER_WITHDRAWAL,
    logged.DELAYS,
    models.CONSENTS,
    models.SITES,
    consents.REFUSED,
    approvals.WITHOUT,
    members.CODE,
    members.SPEND,
    logged.OVERRIDES,
    logged.ADMIN_ACTS,
    members.CHANGES,
    models.RELEASES,
    members.GAPS,
    approvals.IN_FORCE,
    approvals.DUTIES,
    logged.INFERENCES,
    consents.ATTESTED_SHARE,
    consents.AT,
    logged.DENIED,
    visits.SIGN_INS,
    visits.VISITS,
    staff.SHARES,
)
"""The first seventeen are the list of an auditor's standard queries, in its order."""


def library() -> tuple[Question, ...]:
    """Every question, in the order in which people are shown them."""
    return _LIBRARY


def find(name: str) -> Question:
    """The question of this name.

    Raises:
        UsageError: TW3710, there is none.
    """
    for question in _LIBRARY:
        if question.id == name:
            return question
    raise UsageError(
        f"there is no question `{name}`",
        code="TW3710",
        help="list them with `twinward audit list`",
    )


def ask(name: str, given: Mapping[str, str], *, sources: Sources) -> Answer:
    """The answer of a question to these parameters, as text.

    Raises:
        UsageError: TW3710 no such question, TW3711 its parameters cannot be read.
    """
    question = find(name)
    values = question.read(given, sources)
    found = question.run(sources, values)
    answer = Answer(
        question=question,
        given={p.name: given[p.name].strip() for p in question.parameters if given.get(p.name)},
        genesis=sources.history.genesis,
        block=sources.history.block,
        time=sources.history.time,
        scope=sources.scope or (),
    )
    if isinstance(found, NoSource):
        return replace(answer, missing=found.missing)
    verdict = None
    if question.empty_is_pass:
        verdict = "FAIL" if found.rows else "PASS" if found.complete else "OPEN"
    return replace(
        answer,
        verdict=verdict,
        summary=found.summary,
        rows=found.rows,
        remarks=found.remarks,
        topics=question.entries or topics_of(question, values, sources=sources),
        of="" if question.entries is None else str(sources.logbook),
    )


def topics_of(question: Question, values: Values, *, sources: Sources) -> tuple[str, ...]:
    """The topics of the network's log that the answer over these sources is a function of."""
    wanted = tuple(dict.fromkeys(question.topics(values)))
    if sources.scope is None or not wanted:
        return wanted
    records = sources.history.events(kind="Provenance.Recorded")
    return topics_in_scope(wanted, events=records, studies=sources.studies_in_scope)
