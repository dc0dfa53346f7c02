"""What ``twinward consent`` says of letters that were answered: as they go, and at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from twinward.clock import iso
from twinward.console import emit, is_interactive, say
from twinward.errors import EXIT_FAILED

if TYPE_CHECKING:
    from consent.wallet import Outcome


class Progress:
    """A counter on a terminal, one line per tenth otherwise; on stderr."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0

    def __call__(self, _outcome: Outcome) -> None:
        """Count one more."""
        self._done += 1
        if is_interactive():
            end = "\n" if self._done == self._total else ""
            click.echo(f"\r{self._done} of {self._total}{end}", err=True, nl=False)
        elif self._done % max(1, self._total // 10) == 0:
            say(f"{self._done} of {self._total}")


def report(outcomes: Sequence[Outcome], *, schema: str, as_json: bool) -> None:
    """Print the outcomes; the process fails if one of them did."""
    counts = Counter(outcome.answer.value for outcome in outcomes if outcome.error is None)
    failed = [outcome for outcome in outcomes if outcome.error]
    value = {
        "granted": counts["granted"],
        "refused": counts["refused"],
        "withdrawn": counts["withdrawn"],
        "failed": len(failed),
        "letters": [
            {
                "letter": outcome.reference,
                "hospital": outcome.hospital,
                "answer": outcome.answer.value,
                "receipt": outcome.receipt,
                "error": outcome.error.diagnostic.as_json() if outcome.error else None,
            }
            for outcome in outcomes
        ],
    }
    emit(value, schema=schema, as_json=as_json, text=lambda: _summary(outcomes, counts))
    if failed:
        statuses = {o.error.diagnostic.exit_status for o in failed if o.error}
        raise SystemExit(statuses.pop() if len(statuses) == 1 else EXIT_FAILED)


def _summary(outcomes: Sequence[Outcome], counts: Counter[str]) -> str:
    lines = [f"{number} {what}" for what, number in sorted(counts.items())]
    for outcome in outcomes:
        if outcome.error:
            lines.append(f"{outcome.reference}: {outcome.error.diagnostic.as_text()}")
        elif outcome.receipt and "on_chain_by" in outcome.receipt:
            step = outcome.receipt["excluded_from_step"]
            out = "no step is running" if step is None else f"out from step {step}"
            lines.append(
                f"{outcome.reference}: withdrawn at {iso(outcome.receipt['received_at'])}, {out},"
                f" on the ledger by {iso(outcome.receipt['on_chain_by'])}"
            )
        elif outcome.receipt and "block" in outcome.receipt:
            lines.append(
                f"{outcome.reference}: withdrawn on the ledger, by block {outcome.receipt['block']}"
                " at the latest; the hospital hears of it from there"
            )
    return "\n".join(lines) or "nothing to do"
