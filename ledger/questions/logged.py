"""Questions to the audit log of an organisation: what it decided, who ran it, what was overruled.

They are answered at the organisation, or from a copy of its log. What is asked of the ledger alone
has no source for them: only salted heads of these logs stand there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from ledger.questions.logbook import Logbook, Logged
from ledger.questions.question import (
    NODE,
    Column,
    Found,
    NoSource,
    Question,
    Row,
    Values,
    some,
    utc,
)
from ledger.questions.sources import Sources

_ELSEWHERE = (
    "it stands in the audit log of each organisation, which will answer it: ask in that"
    " organisation's folder, or with the copy that it exported (`--log`)"
)
_CLOCK = "Times are those of the organisation's own clock; the ledger bounds them by its heads."
_ENTERED = (
    "The proof shows that nothing in the log was kept back, not that everything was written into it"
)


def _question(
    name: str,
    run: Callable[[Logbook, Values], Found],
    *,
    title: str,
    why: str,
    entries: Sequence[str],
    columns: tuple[Column, ...],
) -> Question:
    def asked(sources: Sources, values: Values) -> Found | NoSource:
        return NoSource(_ELSEWHERE) if sources.logbook is None else run(sources.logbook, values)

    return Question(
        id=name,
        title=title,
        why=why,
        parameters=(),
        columns=columns,
        topics=lambda _: (),
        run=asked,
        entries=tuple(entries),
    )


def _column(name: str, title: str, unit: str = "") -> Column:
    return Column(name, title, unit, NODE)


_WHEN = _column("at", "When", "UTC")
_WITHDRAWAL, _DECISION = "kind:withdrawal", "kind:consent-decision"


def _delays(log: Logbook, _: Values) -> Found:
    """From the entry of a withdrawal to the first decision against that patient in that study."""
    used: dict[tuple[str, str], bool] = {}
    waiting: dict[tuple[str, str], Logged] = {}
    delays: list[tuple[int, tuple[int, ...]]] = []
    for one in log.of((_WITHDRAWAL, _DECISION)):
        who = (one.about("patient"), one.about("study"))
        if one.kind == "withdrawal":
            if used.get(who):
                waiting.setdefault(who, one)
            else:
                delays.append((0, (one.seq,)))
            continue
        used[who] = one.about("decision") == "permit"
        if not used[who] and (withdrawal := waiting.pop(who, None)):
            delays.append((max(0, one.time - withdrawal.time), (withdrawal.seq, one.seq)))
    rows: tuple[Row, ...] = ()
    delays.sort()
    if delays or waiting:
        evidence = sorted(
            {n for _, seqs in delays for n in seqs} | {w.seq for w in waiting.values()}
        )
        seconds = [delay for delay, _ in delays]
        cells = [_nearest(seconds, share) for share in (50, 95, 100)]
        count = len(delays) + len(waiting)
        rows = (Row((log.org, count, *cells, len(waiting)), tuple(evidence)),)
    longest = f", the longest after {delays[-1][0]} s" if delays else ""
    return Found(
        rows,
        f"{some(len(delays) + len(waiting), 'withdrawal')}: {len(delays)} took effect{longest},"
        f" {len(waiting)} wait for the next cohort.",
        (
            (
                "A patient is out when the first cohort is drawn without them; cohorts are drawn"
                " when a run needs them, so the time holds the wait for that; nobody is used in it."
            ),
            "0 s: within the same second, or not in any cohort when they withdrew.",
            _CLOCK,
            _ENTERED,
        ),
    )


def _nearest(ordered: Sequence[int], share: int) -> int | None:
    """The nearest-rank percentile."""
    return ordered[-(-share * len(ordered) // 100) - 1] if ordered else None


def _denied(log: Logbook, _: Values) -> Found:
    counted: dict[tuple[str, str], list[Logged]] = {}
    for one in log.of(("decision:deny",)):
        counted.setdefault((one.about("study"), one.about("rule")), []).append(one)
    rows = tuple(
        Row(
            (
                f"0x{study}",
                rule,
                len(found),
                len({one.about("patient") for one in found}),
                utc(found[0].time),
                utc(found[-1].time),
            ),
            tuple(one.seq for one in found),
        )
        for (study, rule), found in sorted(counted.items())
    )
    total = sum(len(found) for found in counted.values())
    return Found(
        rows,
        f"{some(total, 'decision')} against using a patient's data.",
        (
            "A decision is entered when its rule is another than before.",
            "A patient who was erased and came back counts as another one.",
            _CLOCK,
            _ENTERED,
        ),
    )


def _rows(
    entries: Sequence[Logged], cells: Callable[[Logged], tuple[str | None, ...]]
) -> tuple[Row, ...]:
    return tuple(Row((utc(one.time), *cells(one)), (one.seq,)) for one in entries)


def _withheld(entries: Sequence[Logged]) -> tuple[str, ...]:
    closed = sum(one.body is None for one in entries)
    if not closed:
        return ()
    return (
        f"{some(closed, 'body')}".replace("bodys", "bodies")
        + " erased or not shown: their times and topics are proved, who and why are not told.",
    )


_OVERRULED = "kind:twin-overridden"


def _overrides(log: Logbook, _: Values) -> Found:
    found = list(log.of((_OVERRULED,)))
    return Found(
        _rows(found, lambda one: (one.by, f"answer of the twin {one.about('twin')}", one.words)),
        f"{some(len(found), 'override')}.",
        (
            (
                "Nothing in this version can override a consent; what can be overruled are answers"
                " of twins."
            ),
            *_withheld(found),
            _CLOCK,
            _ENTERED,
        ),
    )


def _inferences(log: Logbook, _: Values) -> Found:
    asked = Counter(one.about("twin") for one in log.of(("kind:twin-asked",)))
    found = list(log.of((_OVERRULED,)))
    overruled = Counter(one.about("twin") for one in found)
    shares = "; ".join(f"{twin}: {overruled[twin]} of {asked[twin]}" for twin in sorted(asked))
    return Found(
        _rows(found, lambda one: (one.about("twin"), one.words, one.by)),
        f"{some(len(found), 'answer')} overruled, {sum(asked.values())} asked for"
        + (f" ({shares})." if shares else "."),
        (
            "The answers themselves stay with the patient's record.",
            *_withheld(found),
            _CLOCK,
            _ENTERED,
        ),
    )


ADMINISTRATION = (
    "approve", "cosign", "erase", "letters", "limit", "node-started", "node-stopped",
    "coordinator-started", "coordinator-stopped", "run-ordered", "model-released",
    "auditor-invited", "auditor-removed",
)  # fmt: skip
"""What staff and daemons enter about running an organisation's part of the network."""


def _acts(log: Logbook, _: Values) -> Found:
    found = list(log.of([f"kind:{what}" for what in ADMINISTRATION]))
    return Found(
        _rows(found, lambda one: (one.by, one.kind, one.about("outcome"))),
        f"{some(len(found), 'act')} of administration.",
        (
            (
                "Accounts are those of the organisation's machine; `node` and `coordinator` are the"
                " programs themselves."
            ),
            (
                "From where somebody logged in, and failed log-ins, have no source yet: the"
                " machine's own log has them."
            ),
            _CLOCK,
            _ENTERED,
        ),
    )


DELAYS = _question(
    "withdrawal-delays",
    _delays,
    title="How long did it take from a withdrawal until the patient was out?",
    why="Shows whether withdrawals bite at once: median, 95th percentile and longest.",
    entries=(_WITHDRAWAL, _DECISION),
    columns=(
        _column("hospital", "Hospital"),
        _column("withdrawals", "Withdrawals"),
        _column("p50", "Half within", "s"),
        _column("p95", "95 of 100 within", "s"),
        _column("longest", "All within", "s"),
        _column("waiting", "No cohort drawn since"),
    ),
)

DENIED = _question(
    "denied-decisions",
    _denied,
    title="Whose data was refused to a study, how often and by which rule?",
    why="Shows that the rules of consent are applied, and which ones decide.",
    entries=("decision:deny",),
    columns=(
        _column("study", "Study"),
        _column("rule", "Rule"),
        _column("decisions", "Decisions"),
        _column("patients", "Patients"),
        _column("first", "First", "UTC"),
        _column("last", "Last", "UTC"),
    ),
)

OVERRIDES = _question(
    "overrides",
    _overrides,
    title="Who used an emergency access or overrode a rule, and on which ground?",
    why="Every exception needs a reader.",
    entries=(_OVERRULED,),
    columns=(
        _WHEN,
        _column("who", "Who"),
        _column("rule", "What was overruled"),
        _column("ground", "Ground"),
    ),
)

ADMIN_ACTS = _question(
    "admin-acts",
    _acts,
    title="Which administration took place, when and by which account?",
    why="Finds accounts that are misused or should have been closed.",
    entries=tuple(f"kind:{what}" for what in ADMINISTRATION),
    columns=(_WHEN, _column("who", "Who"), _column("act", "Act"), _column("outcome", "Outcome")),
)

INFERENCES = _question(
    "overridden-inferences",
    _inferences,
    title="Which answers of a twin did a clinician overrule?",
    why="What the EU AI Act's Article 12 wants to be recorded over a model's life.",
    entries=(_OVERRULED, "kind:twin-asked"),
    columns=(_WHEN, _column("model", "Model"), _column("ground", "Ground"), _column("who", "Who")),
)
