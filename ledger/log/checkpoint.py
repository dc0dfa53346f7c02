"""Signed statements of a log's state, and witnesses that sign beside it.

A checkpoint is a C2SP signed note (https://c2sp.org/tlog-checkpoint), so any witness of that
ecosystem can follow our logs. A witness co-signs (https://c2sp.org/tlog-cosignature) only what
begins with exactly the log that it signed before: that is what stops two histories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ledger.log.store import Sealed
from ledger.verify import Checkpoint, Note, cosigned_bytes, is_consistent, note_key_id
from twinward.errors import EvidenceError, UsageError
from twinward.signing import Identity, PublicIdentity


def network_origin(genesis: bytes) -> str:
    """The name of the log over a ledger's events; also the name of its signing key."""
    return f"twinward/network/{genesis.hex()}"


def audit_origin(genesis: bytes, org: str) -> str:
    """The name of an organisation's audit log; also the name of its signing key."""
    return f"twinward/audit/{genesis.hex()}/{org}"


def witness_name(org: str) -> str:
    """The name under which an organisation co-signs."""
    return f"twinward/witness/{org}"


def file_name(checkpoint: Checkpoint) -> str:
    """The name of its file in a folder of checkpoints: size and block, so that none is replaced."""
    block = 0 if checkpoint.block is None else checkpoint.block[0]
    return f"{checkpoint.size:012}-{block}.txt"


def checkpoint_of(
    origin: str, state: Sealed, *, block: tuple[int, bytes] | None = None
) -> Checkpoint:
    """What a log of this state says; ``block`` is number and hash for the network's log."""
    return Checkpoint(origin, state.size, state.root, state.topics, block)


def sign(checkpoint: Checkpoint, identity: Identity) -> Note:
    """The checkpoint as a note that its log signed."""
    text, name, key = checkpoint.text, checkpoint.origin, identity.public.raw
    signature = identity.sign_note(text.encode())
    return Note(text, ((name, note_key_id(name, key) + signature),))


def read(data: bytes, *, origin: str, signer: PublicIdentity) -> tuple[Note, Checkpoint]:
    """A note and its content, if this log's key signed it.

    Raises:
        UsageError: TW3603, it is not a checkpoint of this log.
        EvidenceError: TW3604, the log's key did not sign it.
    """
    try:
        note = Note.parse(data)
        checkpoint = Checkpoint.parse(note.text)
    except (ValueError, LookupError) as error:
        raise _not_one(str(error)) from error
    if checkpoint.origin != origin:
        raise _not_one(f"it is of `{checkpoint.origin[:120]}`")
    if not note.is_signed_by(origin, signer.raw):
        raise EvidenceError(
            "the checkpoint is not signed by its log",
            code="TW3604",
            at=origin,
            help="reject it, and fetch the log's checkpoint again from its own address",
        )
    return note, checkpoint


def cosign(note: Note, identity: Identity, *, name: str, time: int) -> Note:
    """The note with a witness's signature; call it only after ``require_extends``.

    Args:
        note: A checkpoint whose log signed it.
        identity: The witness's key.
        name: From ``witness_name``.
        time: Now, in Unix seconds.
    """
    signature = identity.sign_note(cosigned_bytes(note.text, time))
    blob = note_key_id(name, identity.public.raw, b"\x04") + time.to_bytes(8) + signature
    others = tuple(each for each in note.signatures if each[0] != name)
    return replace(note, signatures=(*others, (name, blob)))


def cosigned_by(note: Note, witnesses: Mapping[str, PublicIdentity]) -> dict[str, int]:
    """Which of these organisations co-signed, and when in Unix seconds."""
    times = {org: note.cosigned_at(witness_name(org), key.raw) for org, key in witnesses.items()}
    return {org: time for org, time in times.items() if time is not None}


def require_extends(old: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> None:
    """Require that the newer state begins with exactly the older one.

    Raises:
        EvidenceError: TW3605, it does not: the log shows different histories. Keep both notes.
    """
    same_log = old.origin == new.origin
    same_state = old.size != new.size or old.topics == new.topics
    if not (
        same_log and same_state and is_consistent(old.size, old.root, new.size, new.root, proof)
    ):
        raise EvidenceError(
            f"the log of {new.size} entries does not continue the log of {old.size} that was seen",
            code="TW3605",
            at=new.origin,
            help="keep both checkpoints: signed by the same key they prove two histories; tell"
            " the network and sign nothing of this log",
        )


def _not_one(why: str) -> UsageError:
    return UsageError(
        "this is not a checkpoint of the log",
        code="TW3603",
        note=why,
        help="fetch the checkpoint again from the log's own address",
    )
