"""The vault of a node's folder, what is served of it, and the key that hides whom rows are about.

The key is a file of its own in ``secrets/``, so that a copy of the database alone names nobody.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

from consent.fhir.kept import Versions
from consent.hidden import KEY_BYTES
from consent.rekey import rekey
from consent.store import form_of
from consent.vault import Vault, other_key
from hospital_node import watch
from hospital_node.paths import NodePaths
from twinward.errors import ConsentError, UsageError
from twinward.files import read_secret, sync_folder, write_secret
from twinward.organisation import Organisation

_FIRST_WITH_A_KEY = 3
_NOT_UP = ("TW1040", "TW1041")


def open_vault(folder: Path) -> Vault:
    """Open the vault, or make it; the daemon may have it open too.

    The key is on disk before the vault is hidden under it: dying in between leaves a key for the
    next call.

    Raises:
        IdentityError: TW3020, TW2005, others can read the vault or its key.
        ConsentError: TW3021, TW3022; TW8641, there is a vault and no key for it, or another one.
    """
    path, key = NodePaths(folder).vault, vault_key(folder)
    try:
        return Vault.open(path, key=key)
    except ConsentError as error:
        coming = _coming(folder)
        if error.code != "TW8641" or not coming.exists():
            raise
    # A process died between the new key's vault and the new key's place.
    vault = Vault.open(path, key=read_secret(coming))
    _put_in_place(folder)
    return vault


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
    vault = open_vault(folder)
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
        "the node is running; it would know nobody in the vault any more",
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
    vault, key = NodePaths(folder).vault, Organisation(folder).secrets / "vault.key"
    if not key.exists():
        if form_of(vault) >= _FIRST_WITH_A_KEY:
            raise other_key(str(vault))
        key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_secret(key, os.urandom(KEY_BYTES))
    return read_secret(key)
