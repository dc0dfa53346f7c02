"""A move of contracts, as a hospital: check it against the ledger, sign it, take it over."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from hospital_node.membership import load_founding
from ledger import moving
from ledger.endpoint import Endpoint
from twinward import moved
from twinward.errors import IdentityError
from twinward.files import read_given, write_atomic
from twinward.founding import Founding
from twinward.organisation import Organisation
from twinward.signing import Document


def check(folder: Path, path: Path) -> tuple[Founding, moved.Move]:
    """The network as this node knows it, and the move that a file asks it to make.

    Raises:
        UsageError: TW1011, TW1012, TW3510.
        LedgerError: TW3511, not the next move of this network; TW5001.
        IdentityError: TW3512, it does not ask for exactly the active hospitals.
    """
    founding = load_founding(folder)
    document = Document.decode(read_given(path), kind=moved.KIND, at=str(path))
    move = moved.read(founding, document, at=str(path))
    with closing(Endpoint.of(founding, folder).chain(founding)) as chain:
        moving.require_asked(chain, founding, move)
    return founding, move


def sign(folder: Path, path: Path) -> tuple[Path, moved.Move]:
    """Sign a move for this hospital; where the signed copy lies.

    Raises:
        IdentityError: TW3515, this hospital is suspended; and what `check` raises.
    """
    founding, move = check(folder, path)
    identity = Organisation(folder).identity()
    if identity.public.fingerprint not in move.signers:
        raise IdentityError(
            "a suspended hospital signs no move",
            code="TW3515",
            at=str(path),
            help="the others decide; take the move over once they have signed it",
        )
    org = next(one.org for one in founding.hospitals if one.identity == identity.public)
    copy = folder / f"move-{move.number}.{org}.json"
    write_atomic(copy, move.document.signed_by(identity).encode())
    return copy, move


def accept(folder: Path, path: Path) -> moved.Move:
    """Take over the next of the coordinator's published moves; the node has to be started again.

    Raises:
        UsageError: TW3510. LedgerError: TW3511, TW3513, TW5023. IdentityError: TW2002, TW2004,
            TW3512.
    """
    founding = load_founding(folder)
    published = moved.decode(read_given(path), at=str(path))
    known = [one.digest for one in founding.moves]
    if [one.digest for one in published[: len(known)]] != known or len(published) <= len(known):
        raise moved.not_next("it does not go on from the moves that were made here", at=str(path))
    move = moved.read(founding, published[len(known)], at=str(path))
    moved.keep(folder, moving.after(founding, move, folder=folder))
    return move
