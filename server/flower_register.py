"""What Flower's register of SuperNodes keeps of a key that was taken off it, and its removal.

Flower 1.41 marks such a row as unregistered and keeps it for good, with a unique key: whoever was
put out by mistake could never come back. Its control API has no call for that, so the row is
removed in its database, in one transaction, while the SuperLink runs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from twinward.errors import TrainingError

_WAIT_SECONDS = 5.0


def forget_unregistered(database: Path, keys: Iterable[bytes]) -> None:
    """Remove the rows of these keys that are marked as unregistered; all of them or none.

    Args:
        database: Of the SuperLink; it may be running.
        keys: In the PEM form in which Flower keeps them.

    Raises:
        TrainingError: TW6237, the database is not as audited, or cannot be written.
    """
    try:
        with closing(sqlite3.connect(database, timeout=_WAIT_SECONDS)) as db, db:
            db.executemany(
                "delete from node where public_key = ? and status = 'unregistered'",
                [(key,) for key in keys],
            )
    except sqlite3.Error as error:
        raise TrainingError(
            "Flower's register still holds a key that was taken off it, so it takes it no more",
            code="TW6237",
            at=str(database),
            note=str(error),
            help="stop the coordinator, remove its folder `state/superlink`, start it again",
        ) from error
