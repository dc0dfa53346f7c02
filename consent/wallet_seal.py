"""The seal of a wallet: every key in it lies under one passphrase, or none does.

A wallet that was never sealed keeps keys as they are. The table holds a probe, a key of nobody
under the same passphrase, so that a wrong one is noticed before anything is sealed under it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from consent import sealed_key, signature
from consent.letters import Letter
from consent.portal.sealed_keys import secret_of
from consent.store import Migration, Store, execute_all
from twinward import canonical
from twinward.errors import IdentityError, UsageError
from twinward.sealed_file import Passphrase

TABLE: Final = "create table seal (probe blob not null) strict;\n"
MIGRATIONS: Final[Mapping[int, Migration]] = {
    1: lambda database: execute_all(database, TABLE.strip())
}
_NOBODYS = bytes(32)  # what stands for a letter's secret where the probe is sealed
_RAW = 32


class WalletSeal:
    """What a wallet's keys are as they lie in it, and how they are opened."""

    def __init__(self, store: Store) -> None:
        """The seal of this wallet's file, not opened yet."""
        self._store = store
        self._passphrase: Passphrase | None = None

    @property
    def is_there(self) -> bool:
        """Whether keys lie under a passphrase here."""
        return self._store.row("select 1 from seal") is not None

    def open(self, passphrase: Passphrase) -> None:
        """Open keys with this passphrase from now on, and seal new ones under it.

        Raises:
            IdentityError: TW3183, it is another one, or there is no seal.
        """
        (probe,) = self._store.row("select probe from seal") or (b"{}",)
        sealed_key.opened(json.loads(probe), passphrase=passphrase, secret=_NOBODYS)
        self._passphrase = passphrase

    def put_on(self, passphrase: Passphrase) -> int:
        """Put every key of the wallet under a passphrase, all or none; how many there were.

        Raises:
            UsageError: TW3185, it is sealed already.
        """
        probe = sealed_key.seal(signature.new_key(), passphrase=passphrase, secret=_NOBODYS)
        with self._store.transaction() as database:
            if self.is_there:
                raise UsageError(
                    "this wallet is sealed already",
                    code="TW3185",
                    help="nothing is to be done; its passphrase is the one that it was sealed with",
                )
            keys = [
                (_sealed(key, Letter.from_json(json.loads(letter)), passphrase), reference)
                for reference, letter, key in database.execute(
                    "select reference, letter, key from entries where key is not null"
                ).fetchall()
            ]
            database.executemany("update entries set key = ? where reference = ?", keys)
            database.execute("insert into seal values (?)", (canonical.encode(probe),))
        self._store.row("pragma wal_checkpoint(truncate)")  # no key stays beside it in the clear
        self._passphrase = passphrase
        return len(keys)

    def stored(self, key: bytes, letter: Letter) -> bytes:
        """A new key as it lies in the wallet.

        Raises:
            IdentityError: TW3183, the seal was not opened.
        """
        return _sealed(key, letter, self._opened()) if self.is_there else key

    def key(self, stored: bytes, letter: Letter) -> bytes:
        """The key that lies there; raises as ``stored``."""
        if len(stored) == _RAW:
            return stored
        secret = secret_of(letter.code, letter.study)
        return sealed_key.opened(json.loads(stored), passphrase=self._opened(), secret=secret)

    def _opened(self) -> Passphrase:
        if self._passphrase is None:
            raise IdentityError(
                "this wallet is sealed under a passphrase",
                code="TW3183",
                help="give the passphrase; without it, withdraw at the hospital's desk",
            )
        return self._passphrase


def subject_of(stored: bytes) -> bytes:
    """Whose key lies there; needs no passphrase."""
    if len(stored) == _RAW:
        return signature.address_of(stored)
    return bytes.fromhex(json.loads(stored)["subject"])


def _sealed(key: bytes, letter: Letter, passphrase: Passphrase) -> bytes:
    secret = secret_of(letter.code, letter.study)
    return canonical.encode(sealed_key.seal(key, passphrase=passphrase, secret=secret))
