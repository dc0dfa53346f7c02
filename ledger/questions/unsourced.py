"""Questions that nobody can answer yet, named with what will answer them."""

from __future__ import annotations

from ledger.questions.question import Column, NoSource, Question


def _later(
    name: str, *, title: str, why: str, missing: str, columns: tuple[Column, ...]
) -> Question:
    return Question(
        id=name,
        title=title,
        why=why,
        parameters=(),
        columns=columns,
        topics=lambda _: (),
        run=lambda _sources, _values: NoSource(missing),
    )


_WHEN, _WHO = Column("at", "When", "UTC"), Column("who", "Who")

OVERRIDES = _later(
    "overrides",
    title="Who used an emergency access or overrode a rule, and on which ground?",
    why="Every exception needs a reader.",
    missing="emergency access and overrides: nothing in this version can override a consent; they"
    " come with staff accounts, and will stand in each hospital's audit log",
    columns=(_WHEN, _WHO, Column("rule", "Rule"), Column("ground", "Ground")),
)

ADMIN_ACTS = _later(
    "admin-acts",
    title="Which administration took place at night, from outside, or after failed log-ins?",
    why="Finds accounts that are misused or should have been closed.",
    missing="log-ins: they come with staff accounts, and will stand in each member's audit log;"
    " new processes of members are in `key-changes`",
    columns=(_WHEN, _WHO, Column("act", "Act"), Column("from", "From where")),
)

INFERENCES = _later(
    "overridden-inferences",
    title="Which answers of a twin did a clinician overrule?",
    why="What the EU AI Act's Article 12 wants to be recorded over a model's life.",
    missing="answers of twins: they come with the twin workbench, which will log each one at its"
    " hospital",
    columns=(_WHEN, Column("model", "Model"), Column("answer", "Answer"), _WHO),
)

DELAYS = _later(
    "withdrawal-delays",
    title="How long did it take from a withdrawal until the patient was out?",
    why="Shows whether withdrawals bite at once: median, 95th percentile and longest.",
    missing="the moment of receipt: the hospital's signed receipt states it to the patient, and its"
    " audit log will hold it for auditors; the ledger has only the later moment of its own record",
    columns=(
        Column("hospital", "Hospital"),
        Column("withdrawals", "Withdrawals"),
        Column("p50", "Half within", "s"),
        Column("p95", "95 of 100 within", "s"),
        Column("longest", "All within", "s"),
    ),
)
