"""A file that only its owner can open, read from front to back; what stands in its head is public.

One line of canonical JSON (what the file is, and its lock), then chunks under ChaCha20-Poly1305
with a counter and a mark on the last one (STREAM, Hoang et al., CRYPTO 2015, as in age). The key of
the chunks is derived from the head as well, so a changed head opens nothing. The file's own key
lies in the lock: under a passphrase (Argon2id, RFC 9106) or for a recipient (X25519, RFC 7748).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from twinward import canonical
from twinward.errors import EvidenceError, IdentityError, UsageError

FORMAT: Final = "twinward/sealed/v1"
LEAST_PASSPHRASE: Final = 12
"""Characters; four words of a list have more."""

_CHUNK, _TAG, _KEY = 1 << 18, 16, 32
_LONGEST_HEAD = 1 << 16
_ONCE = bytes(12)  # the nonce of a key that seals one thing
_MEMORY_KIB, _ITERATIONS, _LANES = 65_536, 3, 4  # RFC 9106, second recommended option
_MOST_MEMORY_KIB, _MOST_ITERATIONS, _MOST_LANES = 1 << 20, 16, 16


class Lock(Protocol):
    """Puts away the key of one file."""

    def put_away(self, key: bytes) -> dict[str, Any]:
        """The lock, as it stands in the head."""
        ...


class Opener(Protocol):
    """Takes it out again."""

    def take_out(self, lock: Mapping[str, Any]) -> bytes:
        """The file's key.

        Raises:
            IdentityError: TW7403, this does not open the lock.
        """
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Passphrase:
    """A lock and its opener; the words are in no log, address or argument."""

    words: bytes

    def __post_init__(self) -> None:
        if len(self.words) < LEAST_PASSPHRASE:
            raise UsageError(
                f"a passphrase has at least {LEAST_PASSPHRASE} characters",
                code="TW7405",
                help="take several random words, and keep them apart from the file",
            )

    def put_away(self, key: bytes) -> dict[str, Any]:
        """The file's key under this passphrase."""
        lock = {
            "kind": "argon2id",
            "salt": os.urandom(16).hex(),
            "memory_kib": _MEMORY_KIB,
            "iterations": _ITERATIONS,
            "lanes": _LANES,
        }
        return {**lock, "key": ChaCha20Poly1305(self._over(lock)).encrypt(_ONCE, key, None).hex()}

    def take_out(self, lock: Mapping[str, Any]) -> bytes:
        """The file's key; what the lock asks of this machine is bounded."""
        if lock["kind"] != "argon2id":
            raise _other_lock("a recipient's key")
        bounds = ((lock["memory_kib"], _MOST_MEMORY_KIB), (lock["iterations"], _MOST_ITERATIONS),
                  (lock["lanes"], _MOST_LANES))  # fmt: skip
        if not all(isinstance(asked, int) and 0 < asked <= most for asked, most in bounds):
            raise _not_ours("its lock asks for too much memory or time")
        return _unwrapped(self._over(lock), lock)

    def _over(self, lock: Mapping[str, Any]) -> bytes:
        return Argon2id(
            salt=bytes.fromhex(lock["salt"]),
            length=_KEY,
            iterations=lock["iterations"],
            lanes=lock["lanes"],
            memory_cost=lock["memory_kib"],
        ).derive(self.words)


@dataclass(frozen=True, slots=True)
class Recipient:
    """A lock that this machine cannot open again."""

    public: X25519PublicKey

    def put_away(self, key: bytes) -> dict[str, Any]:
        """The file's key for whoever has the private one."""
        once = X25519PrivateKey.generate()
        own = once.public_key().public_bytes_raw()
        over = _agreed(once.exchange(self.public), own, self.public.public_bytes_raw())
        return {
            "kind": "x25519",
            "once": own.hex(),
            "key": ChaCha20Poly1305(over).encrypt(_ONCE, key, None).hex(),
        }


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """Opens what was sealed for a recipient."""

    private: X25519PrivateKey

    def take_out(self, lock: Mapping[str, Any]) -> bytes:
        """The file's key."""
        if lock["kind"] != "x25519":
            raise _other_lock("a passphrase")
        once = bytes.fromhex(lock["once"])
        shared = self.private.exchange(X25519PublicKey.from_public_bytes(once))
        own = self.private.public_key().public_bytes_raw()
        return _unwrapped(_agreed(shared, once, own), lock)


class Sealer:
    """Writes a sealed file. Nothing of it can be opened before ``finish``."""

    def __init__(self, file: BinaryIO, *, about: Mapping[str, Any], lock: Lock) -> None:
        key = os.urandom(_KEY)
        head = canonical.encode({"format": FORMAT, "about": about, "lock": lock.put_away(key)})
        self._file = file
        self._cipher = _chunks(key, head)
        self._waiting = bytearray()
        self._number = 0
        file.write(head + b"\n")

    def write(self, data: bytes) -> None:
        """Add to the content."""
        self._waiting += data
        while len(self._waiting) > _CHUNK:
            self._put(bytes(self._waiting[:_CHUNK]), last=False)
            del self._waiting[:_CHUNK]

    def finish(self) -> None:
        """Mark the end; a file without it does not open."""
        self._put(bytes(self._waiting), last=True)
        self._waiting.clear()

    def _put(self, chunk: bytes, *, last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._number, last=last), chunk, None))
        self._number += 1


class Unsealer:
    """Reads a sealed file; nothing is handed out that was changed, moved or cut.

    Raises:
        UsageError: TW7401, it is no sealed file, or one of a newer release.
        IdentityError: TW7403, this does not open it.
    """

    def __init__(self, file: BinaryIO, *, opener: Opener) -> None:
        head, fields = _read_head(file)
        try:
            key = opener.take_out(fields["lock"])
        except (KeyError, ValueError, TypeError) as error:
            raise _not_ours("its lock cannot be read") from error
        self.about: Mapping[str, Any] = fields["about"]
        self._pieces = self._open(file, _chunks(key, head))
        self._have = bytearray()

    def read(self, size: int) -> bytes:
        """Exactly so many bytes of the content.

        Raises:
            EvidenceError: TW7402, the file was changed or cut.
        """
        while len(self._have) < size:
            piece = next(self._pieces, None)
            if piece is None:
                raise _changed()
            self._have += piece
        taken = bytes(self._have[:size])
        del self._have[:size]
        return taken

    def finish(self) -> None:
        """Require that this was all of it.

        Raises:
            EvidenceError: TW7402, as ``read``.
        """
        if self._have or any(self._pieces):
            raise _changed()

    @staticmethod
    def _open(file: BinaryIO, cipher: ChaCha20Poly1305) -> Iterator[bytes]:
        number, chunk = 0, file.read(_CHUNK + _TAG)
        while True:
            following = file.read(_CHUNK + _TAG)
            try:
                yield cipher.decrypt(_nonce(number, last=not following), chunk, None)
            except InvalidTag as error:
                raise _changed() from error
            if not following:
                return
            number, chunk = number + 1, following


def about(file: BinaryIO) -> Mapping[str, Any]:
    """What the head says, opened by nobody and proven by nothing.

    Raises:
        UsageError: TW7401.
    """
    found: Mapping[str, Any] = _read_head(file)[1]["about"]
    return found


def _read_head(file: BinaryIO) -> tuple[bytes, Mapping[str, Any]]:
    line = file.readline(_LONGEST_HEAD)
    try:
        fields = canonical.decode(line.removesuffix(b"\n"))
        known = line.endswith(b"\n") and fields["format"] == FORMAT
        complete = known and isinstance(fields["about"], dict) and isinstance(fields["lock"], dict)
    except (UsageError, ValueError, KeyError, TypeError) as error:
        raise _not_ours("its first line cannot be read") from error
    if not complete:
        raise _not_ours("another program or a newer release wrote it")
    return line.removesuffix(b"\n"), fields


def _chunks(key: bytes, head: bytes) -> ChaCha20Poly1305:
    salt = hashlib.sha256(head).digest()
    return ChaCha20Poly1305(
        HKDF(algorithm=hashes.SHA256(), length=_KEY, salt=salt, info=FORMAT.encode()).derive(key)
    )


def _agreed(shared: bytes, once: bytes, recipient: bytes) -> bytes:
    return HKDF(
        algorithm=hashes.SHA256(),
        length=_KEY,
        salt=once + recipient,
        info=f"{FORMAT}/x25519".encode(),
    ).derive(shared)


def _unwrapped(over: bytes, lock: Mapping[str, Any]) -> bytes:
    try:
        return ChaCha20Poly1305(over).decrypt(_ONCE, bytes.fromhex(lock["key"]), None)
    except InvalidTag as error:
        raise IdentityError(
            "this passphrase or key does not open the file",
            code="TW7403",
            help="give the one that it was made with; without it nobody can open it",
        ) from error


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11) + bytes([last])


def _changed() -> EvidenceError:
    return EvidenceError(
        "the sealed file was changed, or its end is missing",
        code="TW7402",
        help="take another copy of it; nothing of this one was kept",
    )


def _not_ours(note: str) -> UsageError:
    return UsageError(
        "this is not a sealed file that this release can open",
        code="TW7401",
        note=note,
        help="give a file that `backup` wrote, to the release that wrote it or a newer one",
    )


def _other_lock(what: str) -> IdentityError:
    return IdentityError(
        f"this file is opened with {what}",
        code="TW7403",
        help="give the one that it was made with; without it nobody can open it",
    )
