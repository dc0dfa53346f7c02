"""Checkpoints of the network's log: signed at fixed times, handed to witnesses, kept with theirs.

They lie in ``checkpoints/`` of the coordinator's folder, where the explorer and `twinward audit`
read them. A co-signature is added to the file it is about; nobody's is ever taken out.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ledger.log import checkpoint
from ledger.questions.workspace import CHECKPOINTS, Workspace
from ledger.verify import Note
from twinward.errors import IdentityError, TwinwardError, UsageError
from twinward.files import write_atomic
from twinward.founding import Founding, Member
from twinward.ids import Fingerprint
from twinward.logging import log
from twinward.signing import Identity
from twinward.ticking import Ticking

MOST_BYTES = 64 * 1024
"""Of a checkpoint with all its signatures, in a message."""


class Checkpoints:
    """The newest checkpoint in a folder, and the co-signatures that come in. Thread-safe."""

    def __init__(self, folder: Path, *, founding: Founding) -> None:
        self._folder = folder / CHECKPOINTS
        self._origin = checkpoint.network_origin(bytes.fromhex(str(founding.chain["genesis_hash"])))
        self._coordinator = founding.coordinator.identity
        self._hospitals: Mapping[Fingerprint, Member] = {}
        self.welcome(founding)
        self._lock = threading.Lock()
        self._read: tuple[tuple[str, int], bytes] | None = None

    def welcome(self, founding: Founding) -> None:
        """Take co-signatures of all hospitals of this network from now on."""
        self._hospitals = {member.fingerprint: member for member in founding.hospitals}

    def take(self, by: Fingerprint, body: bytes) -> bytes:
        """Keep a hospital's co-signature, if it brings one; the newest checkpoint for it.

        Args:
            by: Whose certificate the call came with.
            body: Empty, or a checkpoint that was handed out, with this hospital's signature.

        Returns:
            The newest checkpoint with all signatures known; empty if there is none.

        Raises:
            IdentityError: TW3559 not a hospital, TW3641 without its valid signature.
            UsageError: TW3603 not a checkpoint of this log, TW3642 none that was handed out.
            EvidenceError: TW3604, not signed by this coordinator.
        """
        hospital = self._hospitals.get(by)
        if hospital is None:
            raise IdentityError(
                "only hospitals of the founding file are witnesses",
                code="TW3559",
                help="connect with a hospital's certificate",
            )
        with self._lock:
            if body:
                self._keep(hospital, body)
            return self._newest()

    def _keep(self, hospital: Member, body: bytes) -> None:
        if len(body) > MOST_BYTES:
            raise _unknown(f"{len(body)} bytes are too many")
        given, stated = checkpoint.read(body, origin=self._origin, signer=self._coordinator)
        name = checkpoint.witness_name(hospital.org)
        if given.cosigned_at(name, hospital.identity.raw) is None:
            raise IdentityError(
                f"`{hospital.org}` did not co-sign this checkpoint",
                code="TW3641",
                help="sign it with the identity of the founding file",
            )
        path = self._folder / checkpoint.file_name(stated)
        try:
            kept = Note.parse(path.read_bytes())
        except (OSError, ValueError) as error:
            raise _unknown("there is none of this size and block") from error
        if kept.text != given.text:
            raise _unknown("another one has this size and block")
        others = tuple(one for one in kept.signatures if one[0] != name)
        mine = tuple(one for one in given.signatures if one[0] == name)
        merged = replace(kept, signatures=(*others, *mine))
        write_atomic(path, merged.encode())

    def _newest(self) -> bytes:
        for path in self._files():
            stat = path.stat()
            known = (path.name, stat.st_mtime_ns)
            if self._read is not None and self._read[0] == known:
                return self._read[1]
            try:
                data = path.read_bytes()
                checkpoint.read(data, origin=self._origin, signer=self._coordinator)
            except (OSError, TwinwardError):
                continue  # of another log, or half of a copy
            self._read = (known, data)
            return data
        return b""

    def _files(self) -> Iterator[Path]:
        """Newest first; the size of the log leads in the name, the block follows."""
        yield from sorted(self._folder.glob("*.txt"), key=place_of, reverse=True)


class CheckpointThread(Ticking):
    """Signs a checkpoint at fixed times, if the ledger holds events that none covers yet."""

    def __init__(
        self,
        folder: Path,
        *,
        state: Path,
        identity: Identity,
        every_seconds: float,
        url: str | None = None,
    ) -> None:
        """Prepare it.

        Args:
            folder: The coordinator's.
            state: For a copy of the ledger's events of its own.
            identity: The coordinator's.
            every_seconds: From one look at the ledger to the next.
            url: Another node of the ledger than the founding file's.
        """
        super().__init__(
            "signing a checkpoint", every_seconds=every_seconds, code="TW3643", at_once=False
        )
        self._url = url
        self._coordinator = folder
        self._state = state
        self._folder = folder / CHECKPOINTS
        self._identity = identity
        self._trouble: str | None = None

    def sign(self) -> Path | None:
        """Follow the ledger and sign its present state; None if the newest one covers it.

        Raises:
            LedgerError: As ``Workspace.follow``.
            EvidenceError: TW3714, an earlier checkpoint contradicts the ledger: sign no other.
        """
        workspace = Workspace(self._coordinator, state=self._state)  # contracts may have moved
        workspace.follow(self._url)
        newest = max(map(place_of, self._folder.glob("*.txt")), default=(0, 0))
        with workspace.sources() as sources:
            if sources.history.count <= newest[0]:
                return None
        return workspace.checkpoint(self._identity)

    def tick(self) -> None:
        """Sign one if it is needed."""
        self.sign()
        self._trouble = None

    def failed(self, error: TwinwardError) -> None:
        """Say so in the log, once for each kind."""
        if self._trouble != error.code:
            log().warning("no checkpoint was signed", code=error.code, reason=str(error))
        self._trouble = error.code


def place_of(path: Path) -> tuple[int, int]:
    """Size of the log and block that a checkpoint's file names; (-1, -1) if it is none."""
    size, _, block = path.stem.partition("-")
    good = size.isdecimal() and block.isdecimal()
    return (int(size), int(block)) if good else (-1, -1)


def _unknown(why: str) -> UsageError:
    return UsageError(
        f"this is no checkpoint that was handed out here: {why}",
        code="TW3642",
        help="fetch the newest one and co-sign that",
    )
