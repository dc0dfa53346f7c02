"""Writing files so that a crash leaves the old one or the new one, never half of one."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from twinward.errors import IdentityError, UsageError


def write_atomic(path: Path, data: bytes | memoryview, *, mode: int = 0o644) -> None:
    """Replace the file durably: temporary file, fsync, rename, fsync of the folder.

    Dying before the rename leaves the old file and a ``.tmp`` beside it; after it, the new file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_secret(path: Path, data: bytes) -> None:
    """Create a file that only its owner can read; an existing one is never overwritten.

    Raises:
        UsageError: TW1013, the file is already there.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise UsageError(
            "there is already a secret here",
            code="TW1013",
            at=str(path),
            help="choose another folder; Twinward never overwrites a key",
        ) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def create_private(path: Path) -> None:
    """Make an empty file that only its owner can use, durably; one that is there stays as it is.

    For databases. It never opens an existing file: closing any descriptor of a file drops all
    POSIX locks that this process holds on it, and SQLite would lose its own
    (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    sync_folder(path.parent)


def read_given(path: Path) -> bytes:
    """Read a file that a person named, or say which one is missing.

    Raises:
        UsageError: TW1070.
    """
    with open_given(path) as file:
        return file.read()


def open_given(path: Path) -> BinaryIO:
    """Open a file that a person named, to be read; or say which one is missing.

    Raises:
        UsageError: TW1070.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise UsageError(
            f"cannot read a file ({error.strerror})",
            code="TW1070",
            at=str(path),
            help="check the path",
        ) from error


def read_secret(path: Path) -> bytes:
    """Read a file that must not be readable by anyone but its owner.

    Raises:
        UsageError: TW1014, it is not there.
        IdentityError: TW2005, its permissions are too wide.
    """
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read a key file ({error.strerror})",
            code="TW1014",
            at=str(path),
            help="run `init` for this folder first, or fix the path",
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise IdentityError(
            "a key file can be read by other users",
            code="TW2005",
            at=str(path),
            help=f"run `chmod 600 {path}` and consider the key exposed",
        )
    return data


def sync_folder(folder: Path) -> None:
    """Make names that were added to a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
