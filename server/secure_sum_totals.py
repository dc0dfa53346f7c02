"""Sums on disk: small ones go into the transcript's table, each large one into a file of its own.

A file is written and synced before the row that names it, so a row without its file is damage, and
a file without a row is what a coordinator that died had not sent. It is read through a mapping:
holding all sums of a run costs address space, not memory.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from twinward.errors import TrainingError
from twinward.files import sync_folder, write_atomic
from twinward.secsum.words import PIECE_BYTES, Words

Total = bytes | mmap.mmap
"""The words of a sum as they were sent, guard words included."""


@dataclass(frozen=True, slots=True)
class Totals:
    """The large sums of one run, in a folder that is made when the first one comes."""

    folder: Path

    @classmethod
    def beside(cls, transcript: Path) -> Self:
        """The folder that belongs to this transcript."""
        return cls(transcript.with_name(f"{transcript.name}.sums"))

    def keep(self, epoch: int, step: int, words: Words) -> Total:
        """The words as they go into a record; durable at once if they need a file.

        May be called from any thread.

        Raises:
            TrainingError: TW6142.
        """
        if words.nbytes <= PIECE_BYTES:
            return words.tobytes()
        try:
            if not self.folder.exists():
                self.folder.mkdir()
                sync_folder(self.folder.parent)
            write_atomic(self._path(epoch, step), words.data.cast("B"))
        except OSError as error:
            raise unwritable(error) from error
        return self.read(epoch, step)

    def read(self, epoch: int, step: int) -> Total:
        """A large sum that was kept.

        Raises:
            TrainingError: TW6141, its file is not there.
        """
        path = self._path(epoch, step)
        try:
            with path.open("rb") as file:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise TrainingError(
                "a sum of the transcript cannot be read",
                code="TW6141",
                at=str(path),
                help="restore the file from backup; without it the run cannot be proved",
            ) from error

    def _path(self, epoch: int, step: int) -> Path:
        return self.folder / f"{epoch:04d}-{step:05d}.words"


def unwritable(error: Exception) -> TrainingError:
    """The refusal to go on without a durable record."""
    return TrainingError(
        f"the transcript cannot be written ({error})",
        code="TW6142",
        help="free or repair the coordinator's disk, then start a new run",
    )
