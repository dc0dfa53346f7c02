"""The vault of a node's folder, what is served of it, and the key that hides whom rows are about.

The key is a file of its own in ``secrets/``, so that a copy of the database alone names nobody. The
vault is a file of the folder, or lies in the PostgreSQL server that ``vault_server`` names.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

from consent.fhir.kept import Versions
from consent.hidden import KEY_BYTES
from consent.postgres_url import PostgresUrl
from consent.rekey import rekey
from consent.store import form_of
from consent.vault import Vault, other_key
from hospital_node import watch
from hospital_node.paths import NodePaths
from hospital_node.settings import FILE, NodeSettings
from twinward.errors import ConsentError, TwinwardError, UsageError
from twinward.files import read_secret, sync_folder, write_secret
from twinward.ids import RecordNumber
from twinward.organisation import Organisation
from twinward.settings import load

_FIRST_WITH_A_KEY = 3
_NOT_UP = ("TW1040", "TW1041")


def place(folder: Path) -> Path | PostgresUrl:
    """Where this node's vault lies: in a file of its own, or in the hospital's server.

    Raises:
        UsageError: TW1050 to TW1052, TW3161, TW3162; TW3172, there is a file beside the server.
    """
    path, server = NodePaths(folder).vault, load(NodeSettings, folder / FILE).vault_server
    if server is None:
        return path
    url = PostgresUrl.parse(server)
    if path.exists():
        raise UsageError(
            "there is a consent database in this folder and another in the server",
            code="TW3172",
            at=str(path),
            help=f"move it: `twinward node vault-move {folder}`; who withdrew in either must not "
            "be forgotten",
        )
    return url


def form_there(at: Path | PostgresUrl) -> int:
    """The form of the vault there; 0 if there is none yet.

    Raises:
        ConsentError: TW3022; TW3160, TW3163, the server.
    """
    if isinstance(at, Path):
        return form_of(at)
    from consent import postgres_server  # noqa: PLC0415 - most hospitals have no driver

    return postgres_server.form_of(at)


def has_vault(folder: Path) -> bool:
    """Whether there is a vault already: then it is opened, and not made.

    Raises:
        As ``place`` and ``form_there``.
    """
    at = place(folder)
    return at.exists() if isinstance(at, Path) else form_there(at) > 0


def open_vault(folder: Path, *, alone: bool = False) -> Vault:
    """Open the vault, or make it; the daemon may have it open too.

    ``alone`` is said by the daemon, and by whoever cannot work beside one: see `Vault.open`.

    The key is on disk before the vault is hidden under it: dying in between leaves a key for the
    next call.

    Raises:
        IdentityError: TW3020, TW2005, others can read the vault or its key.
        ConsentError: TW3021, TW3022; TW3160 to TW3171, the server; TW8641, there is a vault and
            no key for it, or another one.
        UsageError: As ``place``.
    """
    at, key = place(folder), vault_key(folder)
    try:
        return Vault.open(at, key=key, alone=alone)
    except ConsentError as error:
        coming = _coming(folder)
        if error.code != "TW8641" or not coming.exists():
            raise
    # A process died between the new key's vault and the new key's place.
    vault = Vault.open(at, key=read_secret(coming), alone=alone)
    _put_in_place(folder)
    return vault


def has_letter(folder: Path, record: RecordNumber) -> bool | None:
    """`Vault.has_letter`; None if the vault cannot be asked now."""
    try:
        with closing((vault := open_vault(folder)).store):
            return vault.has_letter(record)
    except TwinwardError:
        return None


def move(folder: Path) -> tuple[PostgresUrl, int]:
    """Move the vault's file into the server that ``vault_server`` names; where, and how many rows.

    The file goes when every row is in the server, on its disk. Dying before leaves it; then the
    node does not start (TW3172), and the same again goes on.

    Raises:
        UsageError: TW8644, the node is running; TW3174, there is no file, or no server is named.
        ConsentError: As ``consent.vault_move.copy``.
    """
    from consent import vault_move  # noqa: PLC0415 - once in a node's life

    _require_stopped(folder)
    path, server = NodePaths(folder).vault, load(NodeSettings, folder / FILE).vault_server
    if server is None or not path.exists():
        raise UsageError(
            "there is nothing to move",
            code="TW3174",
            at=str(path),
            note="`vault_server` names no server" if server is None else "this file is not there",
            help="set `vault_server` in `node.toml`; a node that never had a vault needs no move",
        )
    url, key = PostgresUrl.parse(server), Organisation(folder).secrets / "vault.key"
    rows = vault_move.copy(path, url, key=read_secret(key))
    path.unlink()
    sync_folder(path.parent)
    return url, rows


def open_versions(folder: Path) -> Versions:
    """Open the consents as they were served to record systems, or make the file.

    Raises:
        IdentityError: TW3020, TW2005. ConsentError: TW3021, TW3022, TW8641.
    """
    path, key = NodePaths(folder).fhir, vault_key(folder)
    try:
        return Versions(path, key=key)
    except ConsentError as error:
        coming = _coming(folder)
        if error.code != "TW8641" or not coming.exists():
            raise
    # A process died between this file's new key and the vault's: the exchange goes on from here.
    return Versions(path, key=read_secret(coming))


def rotate(folder: Path) -> Path:
    """Hide everyone under a new key; the node is stopped. The file of the key.

    The new key is on disk before anything is hidden under it, and takes the old one's place after
    that: whenever the process dies, one of the two opens each file, and repeating goes on. The
    vault comes last: once it opens with the new key only, nothing needs the old one.

    Raises:
        UsageError: TW8644, the node is running.
        IdentityError: TW3020, TW2005.
        ConsentError: TW3021, TW3022, TW8640, TW8641.
    """
    _require_stopped(folder)
    open_vault(folder).store.close()  # also puts in place what an earlier one left
    coming = _coming(folder)
    if not coming.exists():
        write_secret(coming, os.urandom(KEY_BYTES))
    if NodePaths(folder).fhir.exists():
        versions = open_versions(folder)
        with closing(versions.store):
            versions.rehide(read_secret(coming))
    vault = open_vault(folder, alone=True)
    try:
        rekey(vault, read_secret(coming))
    finally:
        vault.store.close()
    return _put_in_place(folder)


def _require_stopped(folder: Path) -> None:
    try:
        watch.status(folder)
    except UsageError as error:
        if error.code in _NOT_UP:
            return
        raise
    raise UsageError(
        "the node is running; it would not know the vault any more",
        code="TW8644",
        help="stop `twinward node up`, then give the command again",
    )


def _coming(folder: Path) -> Path:
    return Organisation(folder).secrets / "vault.key.next"


def _put_in_place(folder: Path) -> Path:
    key = Organisation(folder).secrets / "vault.key"
    _coming(folder).replace(key)
    sync_folder(key.parent)
    return key


def vault_key(folder: Path) -> bytes:
    """The key of the vault; made when there is no hidden vault yet.

    Raises:
        IdentityError: TW2005. ConsentError: TW3022, TW8641.
    """
    key = Organisation(folder).secrets / "vault.key"
    if not key.exists():
        at = place(folder)
        if form_there(at) >= _FIRST_WITH_A_KEY:
            raise other_key(str(at))
        key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_secret(key, os.urandom(KEY_BYTES))
    return read_secret(key)
