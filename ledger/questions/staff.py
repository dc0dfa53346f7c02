"""Who of a hospital's staff attests changes of consents instead of the patient signing them.

On the ledger stands how many a hospital attested (`staff-attested`); who did it stays in the
hospital's audit log, under a number made at random for each of its staff.
"""

from __future__ import annotations

from collections import defaultdict

from ledger.questions.entered import CLOCK, ENTERED, column, to_log
from ledger.questions.logbook import Logbook, Logged
from ledger.questions.question import Found, Row, Values, some, utc

_ATTESTED, _WITHDRAWAL = "by:staff", "kind:withdrawal"


def _shares(log: Logbook, _: Values) -> Found:
    attested: dict[str, list[Logged]] = defaultdict(list)
    changes = 0
    for one in log.of((_ATTESTED, _WITHDRAWAL)):
        changes += 1
        if _ATTESTED in one.topics:
            attested[one.about("staff")].append(one)
    total = sum(map(len, attested.values()))
    rows = tuple(
        Row(
            (
                f"staff {number[:8]}",
                sum(one.kind == "withdrawal" for one in found),
                sum(one.kind != "withdrawal" for one in found),
                round(100 * len(found) / total, 2),
                round(100 * len(found) / changes, 2),
                utc(found[0].time),
                utc(found[-1].time),
            ),
            tuple(one.seq for one in found),
        )
        for number, found in sorted(attested.items(), key=lambda each: (-len(each[1]), each[0]))
    )
    return Found(
        rows,
        f"{some(total, 'change')} attested by {len(rows)} of the staff, of {changes} withdrawals"
        " and attested grants in this log.",
        (
            (
                "The number of a member of staff is random and the same in all their entries; whose"
                " it is, only the hospital can say."
            ),
            (
                "Grants that patients signed are not entered here one by one, so they are not in"
                " the shares; `staff-attested` has them, by hospital, from the ledger."
            ),
            CLOCK,
            ENTERED,
        ),
    )


SHARES = to_log(
    "attested-by-staff",
    _shares,
    title="Which member of staff attested how many changes of consents?",
    why="One person who attests most of them calls for a talk.",
    entries=(_ATTESTED, _WITHDRAWAL),
    columns=(
        column("staff", "Member of staff"),
        column("withdrawals", "Withdrawals attested", "changes"),
        column("grants", "Grants attested", "changes"),
        column("share", "Share of all attested", "%"),
        column("of_all", "Share of all in this log", "%"),
        column("first", "First", "UTC"),
        column("last", "Last", "UTC"),
    ),
)
