"""Names of what was erased, written before it is erased: what a backup brings back goes again.

A name says nothing without the key of the file that it was erased from. The file is only ever
added to, so a backup's own copy of it is the beginning of a newer one: what comes after is what the
backup still has. Keep a copy of it in another place than the node (docs/operations_backup.md).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from contextlib import closing
from pathlib import Path

from hospital_node.paths import ERASED, NodePaths
from ledger.audit.bodies import Bodies
from twinward.errors import UsageError
from twinward.files import read_given, sync_folder
from twinward.organisation import Organisation
from twinward.signing import Identity

PURPOSE = "twinward/erased/v1"
PERSON, DONE = "person", "done"
"""That somebody is being erased everywhere (`hospital_node.erasure`), and that this has ended."""

_KINDS = ("audit", "records", "twins", PERSON, DONE)


def name(identity: Identity, record: str) -> bytes:
    """Under which an erasure from the audit log is noted; only this site can compute it."""
    return hmac.digest(identity.derive(PURPOSE), record.encode(), hashlib.sha256)[:16]


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


def take_up(folder: Path, newer: Path | None) -> int:
    """Erase what a restored folder has and a newer file names; how many names that were.

    Raises:
        UsageError: TW1070, TW7410, the newer file cannot be read.
        TwinwardError: A file of the folder cannot be opened with the restored keys.
    """
    if newer is None:
        return 0
    path = NodePaths(folder).erased
    data = read_given(newer)
    own = path.read_bytes() if path.exists() else b""
    since = _read(data.removeprefix(own))
    if not since:
        return 0
    _erase(folder, since)
    with path.open("ab") as file:
        file.write(b"".join(f"{what} {named.hex()}\n".encode() for what, named in since))
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o600)
    return len(since)


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
