"""Is this book the one that was written last on this machine? A number that no backup keeps.

Marks are on disk before a vector leaves, but a book that is put back from a copy has forgotten the
marks made since, and the ledger, which knows reservations only, cannot tell. So the book counts its
changes, and the count also stands in a file on memory-backed storage: it survives a killed process,
but neither a restart of the machine nor a copy of the disk. A book whose count is behind it is an
old one. Without the file nothing is proven, and what was under way then is not taken up again.

Not covered: putting back a whole virtual machine with its memory. Never do that to a node.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - memory-backed is the point; the file is checked below
"""Where Linux keeps files in memory."""

_BYTES = 8


class Continuity:
    """The change count of one book, kept in memory-backed storage under the book's full path.

    Args:
        book: The book's file.
        memory: A folder that does not outlive the machine's uptime; None if there is none.
    """

    def __init__(self, book: Path, *, memory: Path | None) -> None:
        name = hashlib.sha256(os.fsencode(book.resolve())).hexdigest()[:24]
        self._file = None if memory is None else memory / f"twinward-{os.geteuid()}-{name}"

    def last(self) -> int | None:
        """The count that was noted last; None if nothing is known, or not from ourselves."""
        if self._file is None:
            return None
        try:
            descriptor = os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            found = os.fstat(descriptor)
            ours = found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == 0o600
            data = os.read(descriptor, _BYTES + 1)
        finally:
            os.close(descriptor)
        return int.from_bytes(data) if ours and len(data) == _BYTES else None

    def note(self, count: int) -> None:
        """Note the count; what cannot be noted is forgotten, so that nothing older is believed."""
        if self._file is None:
            return
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
            descriptor = os.open(self._file, flags, 0o600)
            try:
                os.pwrite(descriptor, count.to_bytes(_BYTES), 0)
            finally:
                os.close(descriptor)
        except OSError:
            self.forget()

    def forget(self) -> None:
        """Let go of the file: nothing is under way, or nothing can be proven any more."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)
