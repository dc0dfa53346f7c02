"""Going on with a privacy book from a backup, when the latest one is lost. Uses the ledger.

Every patient pays for what the book has forgotten, whoever took part. If the process dies, the
book is as it was or recovered; repeating it charges nothing more.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from hospital_node import forwarder_command, membership
from hospital_node.node import connect_ledger
from hospital_node.paths import NodePaths
from hospital_node.privacy import fence
from hospital_node.privacy.book import BudgetBook
from hospital_node.privacy.continuity import MEMORY, Continuity
from twinward.organisation import Organisation


def recover(folder: Path) -> float:
    """Make the book of a node that is stopped usable again; what that charged, in mu^2.

    A decision of the hospital: every other copy of the node must be stopped for good. Runs that
    were under way stay paid for and are over.

    Raises:
        LedgerError: TW5001 unreachable; without the ledger nobody knows what was forgotten.
        BudgetError: TW4106, the book cannot be used.
    """
    founding, path = membership.load_founding(folder), NodePaths(folder).book
    with (
        forwarder_command.of_member(folder),
        closing(
            connect_ledger(founding, Organisation(folder).ledger_key(), folder=folder)
        ) as chain,
    ):
        chain.check_contracts(founding_digest=founding.digest)
        with closing(BudgetBook(path)) as book:  # without memory: ends what was under way
            missing = fence.recover(book, chain)
    Continuity(path, memory=MEMORY).forget()
    return missing / 1e6
