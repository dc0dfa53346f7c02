"""Who is signed in: kept on the server's disk, named by a random cookie that is stored hashed.

A copy of the file signs nobody in. A session ends after half an hour without use, after twelve
hours in any case, and at once when its account is closed.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from twinward.clock import Clock

IDLE_SECONDS = 30 * 60
LONGEST_SECONDS = 12 * 3600

_TABLE = """create table if not exists sessions (
  token blob primary key, subject text not null, opened real not null, seen real not null
) without rowid"""


@dataclass(frozen=True, slots=True)
class Session:
    """A visitor who proved who they are.

    Attributes:
        subject: The site's own name of the account.
        opened: When they signed in, Unix seconds.
    """

    subject: str
    opened: float


class Sessions:
    """The sessions of one site in one SQLite file. Thread-safe."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        """Open or create the file, which only its owner can read."""
        path.touch(mode=0o600)
        self._clock = clock
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute(_TABLE)

    def open(self, subject: str) -> str:
        """A new session; returns its secret for the cookie, which is kept nowhere else."""
        secret, now = secrets.token_urlsafe(32), self._clock.now()
        with self._lock:
            self._forget_old(now)
            self._db.execute(
                "insert into sessions values (?, ?, ?, ?)", (_hashed(secret), subject, now, now)
            )
        return secret

    def find(self, secret: str) -> Session | None:
        """The living session of this cookie, which counts as used now, or None."""
        now, token = self._clock.now(), _hashed(secret)
        with self._lock:
            with closing(
                self._db.execute(
                    "select subject, opened, seen from sessions where token = ?", (token,)
                )
            ) as found:
                row = found.fetchone()
            if row is None:
                return None
            subject, opened, seen = row
            if not (0 <= now - seen <= IDLE_SECONDS and now - opened <= LONGEST_SECONDS):
                self._db.execute("delete from sessions where token = ?", (token,))
                return None
            if now - seen > 1:  # a page with ten parts costs one write
                self._db.execute("update sessions set seen = ? where token = ?", (now, token))
        return Session(subject, opened)

    def end(self, secret: str) -> None:
        """Sign out."""
        with self._lock:
            self._db.execute("delete from sessions where token = ?", (_hashed(secret),))

    def end_all(self, subject: str) -> None:
        """Sign an account out everywhere."""
        with self._lock:
            self._db.execute("delete from sessions where subject = ?", (subject,))

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()

    def _forget_old(self, now: float) -> None:
        self._db.execute(
            "delete from sessions where seen < ? or opened < ?",
            (now - IDLE_SECONDS, now - LONGEST_SECONDS),
        )


def _hashed(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
