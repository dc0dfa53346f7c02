"""One SQLite file of the coordinator, private to its owner, in which a commit means: on disk.

https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twinward.files import create_private


def connect(path: Path, *, tables: str) -> sqlite3.Connection:
    """Open or create the file, mode 0600 from its first moment; several processes may have it open.

    The connection commits each statement unless the caller begins a transaction; threads that
    share it take turns by a lock of the caller's.
    """
    create_private(path)
    path.chmod(0o600)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in ("busy_timeout = 5000", "journal_mode = wal", "synchronous = full"):
        connection.execute(f"pragma {pragma}")
    connection.executescript(tables)
    return connection
