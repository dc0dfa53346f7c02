"""Patients' keys as their own devices sealed them; what lies here opens nothing.

The seal is a passphrase under Argon2id, or what a passkey gives for a salt, and neither comes here;
with it goes a secret from the letter's code, which is not kept: a copy of this file and of every
other file of the hospital lacks both.
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
_FORM: Mapping[str, type] = {"v": int, "subject": str, "iv": str, "box": str}
_LOCKS: Mapping[str, tuple[int, Mapping[str, type]]] = {
    "kdf": (1, {"t": int, "m": int, "p": int, "salt": str}),
    "passkey": (2, {"id": str, "salt": str}),
}
"""Ways to lock a key: the version of the form, and the fields of each."""
_LARGEST = 4096
"""Characters; an id of a passkey has up to 1,023 bytes (WebAuthn, 4)."""


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
        (name,) = set(value) & set(_LOCKS)
        (version, form), lock = _LOCKS[name], value[name]
        whole = (
            len(text) <= _LARGEST
            and {key: type(value[key]) for key in value} == {**_FORM, name: dict}
            and {key: type(lock[key]) for key in lock} == form
            and (value["v"], value["subject"]) == (version, subject)
            and len(bytes.fromhex(subject)) == ADDRESS_BYTES
            and all(bytes.fromhex(value[key]) for key in ("iv", "box"))
            and all(bytes.fromhex(lock[key]) for key in form if form[key] is str)
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
