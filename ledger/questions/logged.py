"""Questions to the audit log of an organisation: what it decided, who ran it, what was overruled.

They are answered at the organisation, or from a copy of its log. What is asked of the ledger alone
has no source for them: only salted heads of these logs stand there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ledger.questions.entered import CLOCK, ENTERED, WHEN, column, rows_of, to_log, withheld
from ledger.questions.logbook import Logbook, Logged
from ledger.questions.question import Found, Row, Values, some, utc

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
            CLOCK,
            ENTERED,
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
            CLOCK,
            ENTERED,
        ),
    )


_OVERRULED = "kind:twin-overridden"


def _overrides(log: Logbook, _: Values) -> Found:
    found = list(log.of((_OVERRULED,)))
    return Found(
        rows_of(found, lambda one: (one.by, f"answer of the twin {one.about('twin')}", one.words)),
        f"{some(len(found), 'override')}.",
        (
            (
                "Nothing in this version can override a consent; what can be overruled are answers"
                " of twins."
            ),
            *withheld(found),
            CLOCK,
            ENTERED,
        ),
    )


def _inferences(log: Logbook, _: Values) -> Found:
    asked = Counter(one.about("twin") for one in log.of(("kind:twin-asked",)))
    found = list(log.of((_OVERRULED,)))
    overruled = Counter(one.about("twin") for one in found)
    shares = "; ".join(f"{twin}: {overruled[twin]} of {asked[twin]}" for twin in sorted(asked))
    return Found(
        rows_of(found, lambda one: (one.about("twin"), one.words, one.by)),
        f"{some(len(found), 'answer')} overruled, {sum(asked.values())} asked for"
        + (f" ({shares})." if shares else "."),
        (
            "The answers themselves stay with the patient's record.",
            *withheld(found),
            CLOCK,
            ENTERED,
        ),
    )


ADMINISTRATION = (
    "approve", "cosign", "erase", "letters", "limit", "node-started", "node-stopped",
    "sign-move", "accept-move",
    "coordinator-started", "coordinator-stopped", "run-ordered", "run-taken-up", "model-released",
    "auditor-invited", "auditor-removed", "add-approver", "endorse", "renew", "leave",
    "hospital-invited", "hospital-asked-to-join", "hospital-joined", "hospital-left",
    "hospital-revoked", "hospital-unrevoked", "authority-rolled", "authority-retired",
    "paper-consents", "policy-changed", "backup", "stop-training", "resume-training",
    "standing", "mandate", "mandates", "hospital-missing",
    "erased", "hold", "hold-ended", "retention", "data-again",
    "queue-add", "sample", "queue-abort", "queue-open", "queue-paused", "queue-draining",
)  # fmt: skip
"""What staff and daemons enter about running an organisation's part of the network."""


def _acts(log: Logbook, _: Values) -> Found:
    found = list(log.of([f"kind:{what}" for what in ADMINISTRATION]))
    return Found(
        rows_of(found, lambda one: (one.by, one.kind, one.about("outcome"))),
        f"{some(len(found), 'act')} of administration.",
        (
            (
                "Accounts are those of the organisation's machine; `node` and `coordinator` are the"
                " programs themselves."
            ),
            (
                "Who signed in at the auditors' site, from where, and who was refused: `sign-ins`."
                " Log-ins to the organisation's machine itself stand in that machine's own log."
            ),
            CLOCK,
            ENTERED,
        ),
    )


DELAYS = to_log(
    "withdrawal-delays",
    _delays,
    title="How long did it take from a withdrawal until the patient was out?",
    why="Shows whether withdrawals bite at once: median, 95th percentile and longest.",
    entries=(_WITHDRAWAL, _DECISION),
    columns=(
        column("hospital", "Hospital"),
        column("withdrawals", "Withdrawals"),
        column("p50", "Half within", "s"),
        column("p95", "95 of 100 within", "s"),
        column("longest", "All within", "s"),
        column("waiting", "No cohort drawn since"),
    ),
)

DENIED = to_log(
    "denied-decisions",
    _denied,
    title="Whose data was refused to a study, how often and by which rule?",
    why="Shows that the rules of consent are applied, and which ones decide.",
    entries=("decision:deny",),
    columns=(
        column("study", "Study"),
        column("rule", "Rule"),
        column("decisions", "Decisions"),
        column("patients", "Patients"),
        column("first", "First", "UTC"),
        column("last", "Last", "UTC"),
    ),
)

OVERRIDES = to_log(
    "overrides",
    _overrides,
    title="Who used an emergency access or overrode a rule, and on which ground?",
    why="Every exception needs a reader.",
    entries=(_OVERRULED,),
    columns=(
        WHEN,
        column("who", "Who"),
        column("rule", "What was overruled"),
        column("ground", "Ground"),
    ),
)

ADMIN_ACTS = to_log(
    "admin-acts",
    _acts,
    title="Which administration took place, when and by which account?",
    why="Finds accounts that are misused or should have been closed.",
    entries=tuple(f"kind:{what}" for what in ADMINISTRATION),
    columns=(WHEN, column("who", "Who"), column("act", "Act"), column("outcome", "Outcome")),
)

INFERENCES = to_log(
    "overridden-inferences",
    _inferences,
    title="Which answers of a twin did a clinician overrule?",
    why="What the EU AI Act's Article 12 wants to be recorded over a model's life.",
    entries=(_OVERRULED, "kind:twin-asked"),
    columns=(WHEN, column("model", "Model"), column("ground", "Ground"), column("who", "Who")),
)
