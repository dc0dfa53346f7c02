"""Patients' keys as their own devices sealed them; what lies here opens nothing.

The seal is Argon2id over a passphrase, which never comes here, with a secret from the letter's
code, which is not kept: a copy of this file and of every other file of the hospital lacks both.
It is kept so that a patient can use another device, or clear the one they have.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from consent.signature import ADDRESS_BYTES
from consent.store import Store
from consent.study import Study
from twinward import canonical
from twinward.errors import UsageError

KEYS = "sealed_keys.sqlite"
"""Its file in the folder of the site's state."""
VERSION = 1
_TABLES = """
create table keys (
  letter blob not null, subject blob not null, sealed blob not null,
  primary key (letter, subject)
) strict, without rowid;
"""
_FORM: Mapping[str, type] = {"v": int, "subject": str, "kdf": dict, "iv": str, "box": str}
_KDF: Mapping[str, type] = {"t": int, "m": int, "p": int, "salt": str}


def secret_of(code: bytes, study: Study) -> bytes:
    """What the letter adds to the passphrase: 32 bytes that the code gives, and nothing kept."""
    return canonical.tagged_hash("sealed-key-secret/v1", code, study.id32)


def state_of(folder: Path) -> Path:
    """Where the site of a node keeps what it has; only its owner can read it."""
    state = folder / "state" / "portal"
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    state.chmod(0o700)
    return state


class SealedKeys:
    """Sealed keys by letter and subject. Thread-safe; durable when a call returns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the file, mode 0600.

        Raises:
            IdentityError: TW3020. ConsentError: TW3021, TW3022.
        """
        return cls(Store.open(path, tables=_TABLES, version=VERSION))

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()

    def of(self, code: bytes) -> dict[str, dict[str, Any]]:
        """The sealed keys of a letter, by their subject in hex."""
        rows = self._store.rows(
            "select subject, sealed from keys where letter = ?", (_letter(code),)
        )
        return {subject.hex(): json.loads(sealed) for subject, sealed in rows}

    def holds(self, subject: bytes) -> bool:
        """Whether a sealed key of this subject is here."""
        return self._store.row("select 1 from keys where subject = ?", (subject,)) is not None

    def keep(self, code: bytes, sealed: Mapping[str, Any]) -> None:
        """Keep a sealed key; one that is there already stays as it is."""
        with self._store.transaction() as database:
            database.execute(
                "insert or ignore into keys values (?, ?, ?)",
                (_letter(code), bytes.fromhex(sealed["subject"]), canonical.encode(dict(sealed))),
            )

    def forget(self, subjects: Iterable[bytes]) -> int:
        """Delete the sealed keys of these subjects; returns how many there were."""
        with self._store.transaction() as database:
            gone = [
                database.execute("delete from keys where subject = ?", (subject,)).rowcount
                for subject in subjects
            ]
        self._store.row("pragma wal_checkpoint(truncate)")  # nothing deleted stays beside it
        return sum(gone)


def read(text: str, *, subject: str) -> dict[str, Any]:
    """A sealed key as a page's script sent it.

    Raises:
        UsageError: TW8072, not one, or another subject's.
    """
    try:
        value = json.loads(text)
        kdf = value["kdf"]
        whole = (
            len(text) <= 1024
            and {name: type(value[name]) for name in value} == _FORM
            and {name: type(kdf[name]) for name in kdf} == _KDF
            and value["subject"] == subject
            and len(bytes.fromhex(subject)) == ADDRESS_BYTES
            and all(bytes.fromhex(part) for part in (value["iv"], value["box"], kdf["salt"]))
        )
    except (KeyError, TypeError, ValueError) as error:
        raise not_of_the_page() from error
    if not whole:
        raise not_of_the_page()
    return dict(value)


def not_of_the_page() -> UsageError:
    """The refusal of something that no script of ours sent."""
    return UsageError(
        "what was sent is not what the page makes",
        code="TW8072",
        help="load the page again and repeat; if it happens twice, call the hospital",
    )


def _letter(code: bytes) -> bytes:
    return canonical.tagged_hash("sealed-key-of/v1", code)
