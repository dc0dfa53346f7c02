"""The question library on pages: choose, fill in, read; the address is the question."""

from __future__ import annotations

from collections.abc import Mapping

from ledger.explorer.view import JOINED, View
from ledger.questions.answer import Answer
from ledger.questions.library import ask, find, library
from ledger.questions.question import Question, spelled
from twinward.errors import UsageError
from twinward.web.shell import Page
from twinward.web.table import Column, Table

QUESTION = "question"


def questions(view: View, words: Mapping[str, str]) -> Page:
    """Every question that can be asked."""
    del words, view
    rows = tuple(
        {
            "id": one.id,
            "title": one.title,
            "why": one.why,
            "takes": _takes(one),
            "of": "the ledger" if one.entries is None else "an audit log",
        }
        for one in library()
    )
    columns = (
        Column("title", "Question", href="/questions/{id}"),
        Column("why", "What it is good for"),
        Column("takes", "Takes"),
        Column("of", "Asked of"),
        Column("id", "Name in commands"),
    )
    found = Table("Questions that auditors ask", columns, rows)
    return Page("questions.html", "Questions", "explorer.questions", {"questions": found})


def question(view: View, words: Mapping[str, str]) -> Page:
    """One question, and its answer once everything that it needs is given."""
    chosen = find(words[QUESTION])
    names = {one.name for one in chosen.parameters}
    given = {name: text for name, text in words.items() if name in names and text.strip()}
    lacking = [one.title for one in chosen.parameters if one.required and one.name not in given]
    answer, problem = None, None
    if not lacking or view.form != "html":
        try:
            answer = ask(chosen.id, given, sources=view.sources)
        except UsageError as error:
            if view.form != "html":
                raise
            problem = error.diagnostic
    facts: dict[str, object] = {"question": chosen.id, "why": chosen.why, "lacking": lacking}
    if answer is not None:
        facts["answer"] = answer.as_json()
    return Page(
        "question.html",
        chosen.title,
        "explorer.question",
        {"rows": _table(answer)} if answer is not None and not answer.missing else {},
        facts,
        {
            "parameters": [
                (one, spelled(one.type), given.get(one.name, "")) for one in chosen.parameters
            ],
            "choices": _choices(view),
            "result": answer,
            "of_log": chosen.entries is not None,
            "problem": problem,
        },
    )


def _takes(one: Question) -> str:
    return ", ".join(
        f"{each.title.lower()}{'' if each.required else ' (optional)'}" for each in one.parameters
    )


def _choices(view: View) -> dict[str, list[str]]:
    """What a field of a type can be chosen from."""
    return {
        "study": sorted(one.name for one in view.papers.studies.values()),
        "member": [view.member(event.integer("number")) for event in view.of_kind(JOINED)],
    }


def _table(answer: Answer) -> Table:
    columns = [
        Column(
            one.name,
            f"{one.title} ({one.unit})" if one.unit else one.title,
            "digest"
            if _is_digests(answer, place)
            else "number"
            if _is_numbers(answer, place)
            else "text",
        )
        for place, one in enumerate(answer.question.columns)
    ]
    rows = [
        {
            **{
                one.name: cell for one, cell in zip(answer.question.columns, row.cells, strict=True)
            },
            "events": " ".join(map(str, row.evidence[:5]))
            + (" …" if len(row.evidence) > 5 else ""),
            "about": row.evidence[0] if row.evidence else None,
        }
        for row in answer.rows
    ]
    columns.append(Column("events", "Rests on events", "text", "/events/{about}"))
    return Table(
        "Each line with the events that it rests on", tuple(columns), tuple(rows), answer.headline
    )


def _is_numbers(answer: Answer, place: int) -> bool:
    cells = [row.cells[place] for row in answer.rows]
    return bool(cells) and all(isinstance(cell, (int, float)) for cell in cells)


def _is_digests(answer: Answer, place: int) -> bool:
    digits = set("0123456789abcdef")
    cells = [str(row.cells[place]).removeprefix("0x") for row in answer.rows]
    return bool(cells) and all(len(cell) in {40, 64} and set(cell) <= digits for cell in cells)
