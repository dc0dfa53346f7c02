"""Names of what was erased, written before it is erased: what a backup brings back goes again.

A name says nothing without the key of the file that it was erased from. The file is only ever
added to, so a backup's own copy of it is the beginning of a newer one: what comes after is what the
backup still has. Keep a copy of it in another place than the node (docs/operations_backup.md).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hospital_node.paths import ERASED, NodePaths
from ledger.audit.bodies import Bodies
from twinward.errors import UsageError
from twinward.files import read_given, sync_folder, write_atomic
from twinward.organisation import Organisation
from twinward.signing import Identity

PURPOSE = "twinward/erased/v1"
PERSON, DONE = "person", "done"
"""That somebody is being erased everywhere (`hospital_node.erasure`), and that this has ended."""

AGAIN = "again"
"""That a name may come back: somebody who was erased was let in again."""

_RECORDS = "records"
_KINDS = ("audit", _RECORDS, "twins", PERSON, DONE, AGAIN)


@dataclass(frozen=True, slots=True)
class Gone:
    """Names that may not come back by an import, and how many were let in again."""

    names: frozenset[bytes]
    lifted: int


def namer(identity: Identity) -> Callable[[str], bytes]:
    """Under which names erasures of people are noted; only this site can compute them."""
    key = identity.derive(PURPOSE)
    return lambda record: hmac.digest(key, record.encode(), hashlib.sha256)[:16]


def name(identity: Identity, record: str) -> bytes:
    """The name of one of them."""
    return namer(identity)(record)


def note(beside: Path, what: str, named: bytes) -> None:
    """Write down, durably, that something is about to be erased from the file ``beside``."""
    path = beside.with_name(ERASED)
    is_new = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, f"{what} {named.hex()}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        sync_folder(path.parent)


def unfinished(folder: Path) -> list[bytes]:
    """Names of people whose erasure was begun and has not ended: a process died in it."""
    path = NodePaths(folder).erased
    rows = _read(path.read_bytes()) if path.exists() else []
    begun = dict.fromkeys(named for what, named in rows if what == PERSON)
    for what, named in rows:
        if what == PERSON:
            begun[named] = None
        elif what == DONE:
            begun.pop(named, None)
    return list(begun)


def gone(folder: Path) -> Gone:
    """Whom this node erased and has not let in again.

    Raises:
        UsageError: TW7410.
    """
    names, lifted = set[bytes](), 0
    for what, named in _read(_bytes(NodePaths(folder).erased)):
        if what in {_RECORDS, PERSON}:
            names.add(named)
        elif what == AGAIN:
            names.discard(named)
            lifted += 1
    return Gone(frozenset(names), lifted)


def take_up(folder: Path, newer: Path | None) -> int:
    """Erase what a folder has and a newer file of its names says; how many names that were.

    Raises:
        UsageError: TW1070, TW7410, the newer file cannot be read.
        TwinwardError: A file of the folder cannot be opened with the restored keys.
    """
    if newer is None:
        return 0
    path = NodePaths(folder).erased
    since = _read(_missing(_bytes(path), read_given(newer)))
    if not since:
        return 0
    _erase(folder, since)
    with path.open("ab") as file:
        file.write(b"".join(f"{what} {named.hex()}\n".encode() for what, named in since))
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o600)
    return len(since)


def at_start(folder: Path, copy: Path | None) -> int:
    """What `erased_copy` names and this folder does not know is erased, before anything is read.

    So a backup that was put back without its newest ``erased`` does not start with people in it who
    were erased. Returns how many names that were.

    Raises:
        UsageError: TW8144, the copy is not there; TW7410, it is none.
    """
    if copy is None:
        return 0
    _require(copy)
    found = take_up(folder, copy)
    copy_out(folder, copy)
    return found


def copy_out(folder: Path, copy: Path | None) -> None:
    """Add to the copy of ``erased`` in another place what it does not have yet.

    Raises:
        UsageError: TW8144.
    """
    if copy is None:
        return
    _require(copy)
    own = _bytes(NodePaths(folder).erased)
    try:
        there = copy.read_bytes()
        missing = _missing(there, own)
        if missing:
            write_atomic(copy, there + missing, mode=0o600)
    except OSError as error:
        raise _no_copy(copy, str(error)) from error


def _require(copy: Path) -> None:
    if not copy.is_file():
        raise _no_copy(copy, "no such file")


def _no_copy(copy: Path, why: str) -> UsageError:
    return UsageError(
        "the copy of `state/erased` in another place cannot be used",
        code="TW8144",
        at=str(copy),
        note=why,
        help="is its disk there? For a new copy make an empty file; without it a backup that is "
        "put back could bring back who was erased",
    )


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _missing(known: bytes, newer: bytes) -> bytes:
    """The lines that a newer file has more often, in their order."""
    left, found = Counter(known.splitlines(keepends=True)), []
    for line in newer.splitlines(keepends=True):
        if left[line] > 0:
            left[line] -= 1
        else:
            found.append(line)
    return b"".join(found)


def _read(data: bytes) -> list[tuple[str, bytes]]:
    try:
        rows = [line.split(" ") for line in data.decode().splitlines()]
        found = [(what, bytes.fromhex(named)) for what, named in rows]
    except ValueError:
        found = [("", b"")]
    if any(what not in _KINDS for what, _ in found):
        raise UsageError(
            "this is not a file of names of what was erased",
            code="TW7410",
            help="give `state/erased` of the node, or the copy of it that was kept elsewhere",
        )
    return found


def _erase(folder: Path, since: list[tuple[str, bytes]]) -> None:
    from hospital_node import erasure  # noqa: PLC0415 - it notes erasures here
    from hospital_node.data import imported  # noqa: PLC0415 - its store notes erasures here
    from hospital_node.twins.cli_arguments import stored  # noqa: PLC0415

    erasure.erase_named(folder, {one for what, one in since if what == PERSON})
    paths = NodePaths(folder)
    named = {kind: {one for what, one in since if what == kind} for kind in _KINDS}
    if named["records"] and paths.patients.exists():
        with closing(imported.open_store(folder, alone=True)) as records:
            for one in named["records"]:
                records.forget_named(one)
    if named["twins"] and paths.twins.exists():
        with stored(folder) as twins:
            for one in named["twins"]:
                twins.forget_named(one)
    if named["audit"]:
        identity = Organisation(folder).identity()
        with closing(Bodies(paths.audit / "bodies.sqlite", paths.audit / "keys.sqlite")) as bodies:
            for person in bodies.people():
                if name(identity, person) in named["audit"]:
                    bodies.erase(person)
