"""Bundle files on disk: unpacked, bounded in size, decoded, or refused by name."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from hospital_node.data.drafts import Refused
from hospital_node.data.fhir import resources as fhir

_LARGEST_FILE = 512 * 2**20
_PART = 8 * 2**20
"""Bytes on disk after which what was read is made durable."""
_DEEPEST = 1000


def bundle(data: bytes) -> fhir.Bundle:
    """The bundle in these bytes, its resources not decoded yet.

    Raises:
        Refused: truncated, not-json, not-a-bundle.
    """
    try:
        found = fhir.BUNDLE.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except msgspec.ValidationError:
        raise Refused("not-a-bundle") from None
    except fhir.UNREADABLE as error:
        raise Refused("truncated" if "truncated" in str(error) else "not-json") from None
    if found.resourceType != "Bundle" or found.entry is None:
        raise Refused("not-a-bundle")
    return found


@contextmanager
def bounded_stack() -> Iterator[None]:
    """Keep the usual limit to how deep calls go, whatever a library raised it to.

    A decoder goes down one frame per level of nesting. Under the usual limit it refuses what is too
    deep; under a raised one the process would end. From Python 3.12 on C code has a limit of its
    own. For one thread: the limit is the interpreter's.
    """
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(min(before, _DEEPEST))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def content(path: Path) -> bytes:
    """The bytes of a file, unpacked if it is packed.

    Raises:
        Refused: truncated, unreadable, too-large.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except EOFError:
        raise Refused("truncated") from None
    except (OSError, zlib.error):
        raise Refused("unreadable") from None
    if len(data) > _LARGEST_FILE:
        raise Refused("too-large")
    if not data:
        raise Refused("truncated")
    return data


def parts(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Files in groups of about the same size, always the same for the same files."""
    part: list[Path] = []
    size = 0
    for path in files:
        part.append(path)
        size += path.stat().st_size if path.is_file() else 0
        if size >= _PART:
            yield part
            part, size = [], 0
    if part:
        yield part
