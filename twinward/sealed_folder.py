"""Files of one folder, with a manifest of their digests, in one sealed file; and their way out.

One line that everyone can read, then, sealed: the manifest's length and the manifest, then each
file's bytes in its order. The form is that of ``twinward.sealed_file``.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from twinward import canonical
from twinward.errors import EvidenceError
from twinward.files import open_given, sync_folder, write_secret
from twinward.sealed_file import Lock, Opener, Sealer, Unsealer, about

_PIECE: Final = 1 << 20
_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed file and what opens it."""

    file: Path
    opener: Opener


def describe(file: Path) -> Mapping[str, Any]:
    """What anyone can read of a backup.

    Raises:
        UsageError: TW7401, it is none; TW1070, it cannot be read.
    """
    with open_given(file) as stream:
        return about(stream)


def check(sealed: Sealed) -> Mapping[str, Any]:
    """The manifest of a backup whose every byte was found as it was written; writes nothing.

    Raises:
        UsageError: TW7401. IdentityError: TW7403. EvidenceError: TW7402.
    """
    return unseal(sealed, into=None)


def seal(
    file: Path, lock: Lock, *, head: Mapping[str, Any], folder: Path, aside: Path,
    paths: Sequence[str],
) -> int:  # fmt: skip
    """Write files of one folder, with their manifest, into one sealed file; its size in bytes.

    Args:
        file: Appears whole or not at all.
        lock: What seals it.
        head: For everyone to read.
        folder: Which folder these files are of, for the manifest.
        aside: Where their copies lie.
        paths: Of the files, within both.
    """
    rows = [
        {
            "path": path,
            "bytes": (aside / path).stat().st_size,
            "sha256": _digest(aside / path),
            "mode": stat.S_IMODE((aside / path).stat().st_mode),
        }
        for path in paths
    ]
    manifest = canonical.encode({**head, "folder": str(folder.resolve()), "files": rows})
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            sealer = Sealer(stream, about=head, lock=lock)
            sealer.write(len(manifest).to_bytes(_LENGTH) + manifest)
            for path in paths:
                with (aside / path).open("rb") as source:
                    while piece := source.read(_PIECE):
                        sealer.write(piece)
            sealer.finish()
            stream.flush()
            os.fsync(stream.fileno())
            size = stream.tell()
        temporary.rename(file)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(file.parent)
    return size


def unseal(sealed: Sealed, *, into: Path | None) -> Mapping[str, Any]:
    """The manifest, every byte checked; the files into a folder, if one is named.

    Raises:
        UsageError: TW7401. IdentityError: TW7403. EvidenceError: TW7402.
    """
    with open_given(sealed.file) as stream:
        unsealer = Unsealer(stream, opener=sealed.opener)
        manifest = canonical.decode(unsealer.read(int.from_bytes(unsealer.read(_LENGTH))))
        for row in manifest["files"]:
            digest = hashlib.sha256()
            with _writing(into, row) as write:
                left = row["bytes"]
                while left:
                    piece = unsealer.read(min(left, _PIECE))
                    digest.update(piece)
                    write(piece)
                    left -= len(piece)
            if digest.hexdigest() != row["sha256"]:
                raise EvidenceError(
                    "a file in the backup is not what its manifest says",
                    code="TW7402",
                    at=row["path"],
                    help="take another copy of it; nothing of this one was kept",
                )
        unsealer.finish()
    found: Mapping[str, Any] = manifest
    return found


@contextmanager
def _writing(into: Path | None, row: Mapping[str, Any]) -> Iterator[Callable[[bytes], object]]:
    """A new file within the folder; nowhere if there is none."""
    path = PurePosixPath(row["path"])
    if path.is_absolute() or ".." in path.parts:
        raise EvidenceError(
            "a file in the backup wants to lie outside of its folder",
            code="TW7402",
            at=str(path),
            help="do not use this backup, and ask who made it",
        )
    if into is None:
        yield lambda _: None
        return
    target = into / path
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_secret(target, b"")
    with target.open("ab") as file:
        yield file.write
        file.flush()
        os.fsync(file.fileno())
    target.chmod(row["mode"] & 0o700)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
