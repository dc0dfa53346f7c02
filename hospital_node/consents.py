"""The vault of a node's folder, with the key that hides whom its rows are about.

The key is a file of its own in ``secrets/``, so that a copy of the database alone names nobody.
"""

from __future__ import annotations

import os
from pathlib import Path

from consent.hidden import KEY_BYTES
from consent.store import form_of
from consent.vault import Vault, other_key
from hospital_node.paths import NodePaths
from twinward.files import read_secret, write_secret
from twinward.organisation import Organisation

_FIRST_WITH_A_KEY = 3


def open_vault(folder: Path) -> Vault:
    """Open the vault, or make it; the daemon may have it open too.

    The key is on disk before the vault is hidden under it: dying in between leaves a key for the
    next call.

    Raises:
        IdentityError: TW3020, TW2005, others can read the vault or its key.
        ConsentError: TW3021, TW3022; TW8641, there is a vault and no key for it, or another one.
    """
    path = NodePaths(folder).vault
    return Vault.open(path, key=vault_key(folder))


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
