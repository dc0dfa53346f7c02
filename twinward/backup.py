"""One moment of a role's folder in two sealed files, and its way back: records, and keys apart.

Whatever lies in the folder is taken, so that nothing new is forgotten; what is left out stands in
the role's ``Rules`` with its reason, as does what counts as a key. Databases are copied by SQLite
while they are in use. Without the passphrase a backup shows role, organisation, time and release.

If the process dies
    while a backup is written: there is no file of its name; copies on the way lie in a private
        folder that the next backup clears;
    while one is put back: the folder is not there; what was written lies beside it under another
        name, which the next restore clears.
"""

from __future__ import annotations

import fnmatch
import os
import secrets
import shutil
import sqlite3
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinward import __version__
from twinward.clock import iso
from twinward.errors import EvidenceError, UsageError
from twinward.files import sync_folder
from twinward.sealed_file import Lock
from twinward.sealed_folder import Sealed, describe, seal, unseal

__all__ = ["KEYS", "RECORDS", "Rules", "Sealed", "Taken", "back_up", "restore"]

RECORDS, KEYS = "records", "keys"
_SQLITE = b"SQLite format 3\0"
_ASIDE = ".backup-in-the-making"


@dataclass(frozen=True, slots=True)
class Rules:
    """What becomes of each file of a role's folder; patterns of paths within it."""

    role: str
    left_out: Mapping[str, str]
    """Pattern to why it is not needed, or not wanted."""
    keys: Sequence[str]
    """What goes into the file of keys."""
    order: Sequence[str] = ()
    """What is copied first, where one file must not be younger than another."""

    def why_left_out(self, path: str) -> str | None:
        """The reason; None if the file is taken."""
        return next((why for one, why in self.left_out.items() if _like(path, one)), None)

    def is_key(self, path: str) -> bool:
        """Whether it goes into the file of keys."""
        return any(_like(path, one) for one in self.keys)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a backup holds."""

    file: Path
    what: str
    paths: tuple[str, ...]
    bytes: int


def back_up(
    folder: Path,
    targets: Mapping[str, tuple[Path, Lock]],
    *,
    rules: Rules,
    org: str,
    now: float,
    copies: Mapping[str, Path] | None = None,
) -> list[Taken]:
    """Write the sealed files named by ``targets``: `RECORDS`, `KEYS`, or both of one moment.

    Args:
        folder: Of the role, which may be at work.
        targets: New files, each with its own lock.
        rules: Of the role.
        org: Whose.
        now: Time, in the head for everyone to read.
        copies: Files that a running daemon has copied itself, because nobody else may read them.

    Raises:
        UsageError: TW7400, there is a file of this name.
        EvidenceError: TW7407, a database cannot be read.
    """
    for file, _ in targets.values():
        if file.exists():
            raise _in_the_way(file)
    aside = folder / _ASIDE
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    try:
        found = {path: rules.is_key(path) for path in _files(folder, rules)}
        pair, taken = secrets.token_hex(8), []
        for path, is_key in found.items():
            if (KEYS if is_key else RECORDS) in targets:
                _copy((copies or {}).get(path, folder / path), aside / path)
        for what, (file, lock) in targets.items():
            paths = tuple(p for p, is_key in found.items() if is_key == (what == KEYS))
            head = {
                "what": what, "role": rules.role, "org": org, "made_at": iso(now),
                "release": __version__, "pair": pair,
            }  # fmt: skip
            size = seal(file, lock, head=head, folder=folder, aside=aside, paths=paths)
            taken.append(Taken(file, what, paths, size))
        return taken
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def restore(
    backups: Mapping[str, Sealed],
    folder: Path,
    *,
    role: str,
    finish: Callable[[Path, Mapping[str, Any]], None],
) -> Mapping[str, Any]:
    """Put a folder back as it was, whole or not at all; the manifest of its records.

    Args:
        backups: `RECORDS` and `KEYS`.
        folder: Not there yet, or empty.
        role: Which the backups must be of.
        finish: What else is to be done before the folder gets its name, there where it lies.

    Raises:
        UsageError: TW7404, the folder is not empty; TW7406, the two are not of one organisation and
            role; TW7401. IdentityError: TW7403. EvidenceError: TW7402.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            "a backup is put back into a new or empty folder only",
            code="TW7404",
            at=str(folder),
            help="name a folder that is not there; move the old one away, it may be needed",
        )
    heads = {what: describe(sealed.file) for what, sealed in backups.items()}
    for what, head in heads.items():
        whose = (head.get("what"), head.get("role"), head.get("org"))
        if whose != (what, role, heads[RECORDS].get("org")):
            raise UsageError(
                f"this is not the file of {what} of the same {role}",
                code="TW7406",
                at=str(backups[what].file),
                note=f"it says: {' '.join(str(word) for word in whose)}",
                help="give the records and the keys of one organisation",
            )
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.parent / f".{folder.name}.restoring"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    try:
        manifests = {what: unseal(sealed, into=aside) for what, sealed in backups.items()}
        finish(aside, manifests[RECORDS])
        _sync(aside)
        aside.rename(folder)  # an empty folder gives way
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    sync_folder(folder.parent)
    return manifests[RECORDS]


def _like(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, pattern)


def _files(folder: Path, rules: Rules) -> list[str]:
    """Regular files that are taken, in the order in which they are copied."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if stat.S_ISREG(path.stat().st_mode if path.exists() else 0) and not (
            name.startswith(_ASIDE) or name.endswith(("-wal", "-shm", "-journal", ".tmp"))
        ):
            found.append(name)
    places = {one: place for place, one in enumerate(rules.order)}
    taken = [name for name in found if rules.why_left_out(name) is None]
    return sorted(taken, key=lambda name: places.get(name, len(places)))


def _copy(source: Path, target: Path) -> None:
    """A file as of one moment; a database with all that was committed to it."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with source.open("rb") as file:
        is_database = file.read(len(_SQLITE)) == _SQLITE
    if not is_database:
        shutil.copyfile(source, target)
    else:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        where = f"{source.resolve().as_uri()}?mode=ro"
        try:
            with (
                closing(sqlite3.connect(where, uri=True)) as database,
                closing(sqlite3.connect(target)) as copy,
            ):
                database.execute("pragma busy_timeout = 5000")
                database.backup(copy)
                copy.execute("pragma journal_mode = delete")  # the one file is all of it
        except sqlite3.Error as error:
            raise EvidenceError(
                f"a database cannot be copied: {error}",
                code="TW7407",
                at=str(source),
                help="run `twinward node doctor`; nothing was written, earlier backups are whole",
            ) from error
    target.chmod(stat.S_IMODE(source.stat().st_mode) & 0o700)


def _sync(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)


def _in_the_way(file: Path) -> UsageError:
    return UsageError(
        "there is a file of this name already",
        code="TW7400",
        at=str(file),
        help="name a new file; a backup never takes the place of another",
    )
