"""What a release costs, written down for runs and for patients, in an order that survives a crash.

The patients' accounts (``lifetime``) decide who can pay, and nothing else does. The book (``book``)
says what a run may send and what it has sent. The ledger says what was reserved, and cannot be put
back. A node that starts makes the three agree in one direction: a book that knows less than the
ledger is refused or charged for it (``fence``), and accounts that know less than the book charge
every patient for what they have forgotten. So a patient's spend is never less than the largest of
the three.

Written before anything is computed:  1. patients' accounts  2. book  3. ledger (by the caller).
Written when a release has ended:     4. book: closed         5. patients' accounts: final cost.

If the process dies
    after 1: the patients have paid for a run that never was;
    after 2: also the hospital has;
    after 3: charged everywhere, nothing left;
    after 4: the patients pay for attempts that were never made.
Giving back before the book is closed would be wrong: another process could go on with the run.
"""

from __future__ import annotations

from hospital_node.privacy.book import BudgetBook
from hospital_node.privacy.lifetime import Lifetime, Mask
from twinward.ids import RunId
from twinward.plan import Plan


def catch_up(book: BudgetBook, lifetime: Lifetime) -> None:
    """Charge every patient for runs of the book that their accounts do not know; at each start."""
    lifetime.charge_everyone({run: micro / 1e6 for run, micro in book.reserved().items()})


def reserve(
    book: BudgetBook,
    lifetime: Lifetime,
    numbers: Plan,
    *,
    run: RunId,
    plan_digest: bytes,
    what: str,
    wanted: Mask,
    at_least: int,
) -> int:
    """Charge whoever of ``wanted`` can pay for all of it, durably; its cost in millionths of mu^2.

    From then on ``lifetime.allowed`` says who may be in an attempt. Asking again on the same terms
    changes nothing.

    Args:
        book: The hospital's book.
        lifetime: The patients' accounts.
        numbers: What will be sent at most, and what it costs.
        run: Under which name it is charged.
        plan_digest: The approved plan.
        what: What it is, for the hospital's own eyes.
        wanted: Who would be part of it.
        at_least: Fewer than this and nobody is charged.

    Raises:
        BudgetError: TW4100, too few can pay; and what ``BudgetBook.reserve`` refuses.
    """
    lifetime.begin(
        run,
        what=what,
        mu2=numbers.mu**2,
        wanted=wanted,
        at_least=at_least,
    )
    return book.reserve(
        run,
        plan_digest=plan_digest,
        attempts=numbers.attempts,
        mu2_per_attempt=numbers.mu2_per_attempt,
        divisible=numbers.divisible,
    )


def close(book: BudgetBook, lifetime: Lifetime, run: RunId) -> None:
    """Say that a run is over for good: attempts never marked are given back to who paid for them.

    Closing again changes nothing; a run whose marks cannot be proven complete stays paid for.
    """
    book.close_run(run)
    cost = book.cost_mu2(run)
    if cost is not None:
        lifetime.end(run, mu2=cost)
