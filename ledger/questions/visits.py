"""Questions about visitors of the auditors' site: who came in, who was refused, what was asked for.

They rest on what the site entered in its organisation's audit log (`ledger.explorer.journal`).
"""

from __future__ import annotations

from ledger.questions.entered import CLOCK, ENTERED, WHEN, column, rows_of, to_log, withheld
from ledger.questions.logbook import Logbook, Logged
from ledger.questions.question import Found, Values, some

_SIGN_IN, _PAGE = "kind:sign-in", "kind:page-asked"
_IN = "done"


def _sign_ins(log: Logbook, _: Values) -> Found:
    found = list(log.of((_SIGN_IN,)))
    refused = [one for one in found if one.about("outcome") != _IN]
    return Found(
        rows_of(
            found,
            lambda one: (
                _who(one),
                one.about("way"),
                one.address,
                "let in" if one.about("outcome") == _IN else f"refused ({one.about('outcome')})",
            ),
        ),
        f"{some(len(found), 'sign-in')} at the auditors' site, {len(refused)} refused.",
        (
            (
                "`unknown`: a name without an account was typed; what was typed is not kept. Tries"
                " beyond ten in ten minutes are turned away and not entered."
            ),
            "`twinward explain CODE` says why somebody was refused.",
            *withheld(found),
            CLOCK,
            ENTERED,
        ),
    )


def _visits(log: Logbook, _: Values) -> Found:
    found = list(log.of((_PAGE,)))
    people = {one.about("auditor") for one in found}
    return Found(
        rows_of(found, lambda one: (_who(one), one.about("page"), _asked(one), one.address)),
        f"{some(len(found), 'page')} asked for by {some(len(people), 'auditor')}.",
        (
            "Entered before the page was shown; forms, tables and files of a page count too.",
            *withheld(found),
            CLOCK,
            ENTERED,
        ),
    )


def _who(one: Logged) -> str:
    """The account if the body is open; else the pseudonym that its entries share."""
    return one.by or f"auditor {one.about('auditor')[:8]}"


def _asked(one: Logged) -> str | None:
    return None if one.body is None else str(one.body["entity"][0]["description"])


SIGN_INS = to_log(
    "sign-ins",
    _sign_ins,
    title="Who signed in at the auditors' site, and who was refused?",
    why="Finds guessing, and accounts that are used by somebody else.",
    entries=(_SIGN_IN,),
    columns=(
        WHEN,
        column("who", "Account"),
        column("way", "By"),
        column("address", "From address"),
        column("outcome", "Outcome"),
    ),
)

VISITS = to_log(
    "page-visits",
    _visits,
    title="Which auditor looked at what, and when?",
    why="Those who look are accountable too.",
    entries=(_PAGE,),
    columns=(
        WHEN,
        column("who", "Account"),
        column("page", "Page"),
        column("asked", "Address in full"),
        column("address", "From address"),
    ),
)
