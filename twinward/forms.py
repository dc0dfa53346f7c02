"""In which form each database of a role's folder is, and that this release knows it.

Each file counts its form (SQLite's ``user_version``). A release brings an older form to its own
when it opens the file; a newer one it refuses, all files at once and before any is opened.
"""

from __future__ import annotations

import fnmatch
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from twinward.errors import EvidenceError


@dataclass(frozen=True, slots=True)
class Form:
    """One database. ``found`` is None while a running daemon lets nobody read it."""

    path: str
    found: int | None
    known: int

    @property
    def is_newer(self) -> bool:
        """Whether a newer release wrote it."""
        return self.found is not None and self.found > self.known


def examine(folder: Path, forms: Mapping[str, int]) -> list[Form]:
    """The form of each database that there is; ``forms`` is pattern to newest form known."""
    return [
        Form(name, _form(path), known)
        for path in sorted(folder.rglob("*.sqlite"))
        for name in [path.relative_to(folder).as_posix()]
        for known in [next((n for p, n in forms.items() if fnmatch.fnmatchcase(name, p)), None)]
        if known is not None
    ]


def require_known(folder: Path, forms: Mapping[str, int]) -> None:
    """Require that no database is in a newer form than this release knows.

    Raises:
        EvidenceError: TW7408; nothing was opened to be written.
    """
    for one in examine(folder, forms):
        if one.is_newer:
            raise EvidenceError(
                f"a newer release wrote {one.path}: form {one.found}, known up to {one.known}",
                code="TW7408",
                at=str(folder / one.path),
                help="install that release again, or restore the backup from before the upgrade",
            )


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A database, opened to be read only."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        yield database


def _form(path: Path) -> int | None:
    try:
        with reading(path) as database:
            database.execute("pragma busy_timeout = 1000")
            (found,) = database.execute("pragma user_version").fetchone()
    except sqlite3.Error:
        return None
    return int(found)
