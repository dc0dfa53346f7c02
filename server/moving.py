"""Moving contracts, as the coordinator: propose addresses, gather signatures, put them there.

step                              if the process dies before the next one
one-time key made                 the same key is used again
draft written                     the same draft is proposed again, with a later block
signed by all active hospitals    nothing happened yet
contracts on the ledger           publishing again finds them there
``moves.json`` written            done; the daemon knows it at its next start
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from ledger import moving
from ledger.account import address_of, new_key
from ledger.deployed import CONTRACTS, created
from ledger.endpoint import Endpoint
from server.founding_ceremony import load_founding
from twinward import moved
from twinward.errors import UsageError
from twinward.files import read_secret, write_atomic, write_secret
from twinward.organisation import Organisation
from twinward.signing import Document

_NAMES = dict(zip(("membership", "consent", *moved.MOVABLE), CONTRACTS, strict=True))


def propose(
    folder: Path, *, contracts: Sequence[str], reason: str, block: int | None = None
) -> tuple[Path, moved.Move]:
    """Write the move that the hospitals are asked to sign; nothing is put on the ledger.

    Args:
        folder: The coordinator's.
        contracts: Names of `twinward.moved.MOVABLE`.
        reason: For people.
        block: From which block on; the next one if not given.

    Raises:
        UsageError: TW3510. LedgerError: TW5001 and what connecting raises.
    """
    founding = load_founding(folder)
    with closing(Endpoint.of(founding, folder).chain(founding)) as chain:
        suspended = moving.suspended(chain, founding)
        newest = chain.tip().number
    ordered = [name for name in moved.MOVABLE if name in contracts]
    key = _one_time_key(folder, len(founding.moves) + 1)
    places = created(address_of(key), len(ordered))
    document = moved.propose(
        founding,
        addresses=dict(zip(ordered, places, strict=True)),
        block=newest + 1 if block is None else block,
        reason=reason,
        suspended=suspended,
    )
    move = moved.read(founding, document)
    path = folder / f"move-{move.number}.json"
    write_atomic(path, document.encode())
    return path, move


def publish(folder: Path, copies: Sequence[bytes]) -> tuple[Path, moved.Move]:
    """Put the contracts of a move that every active hospital signed where it says; repeatable.

    Returns:
        The file for the hospitals, and the move.

    Raises:
        UsageError: TW3510, TW3514 not of this coordinator's key. LedgerError: TW3511, TW3513,
            TW5023. IdentityError: TW2002, TW2004, TW2012, TW3512.
    """
    founding = load_founding(folder)
    document = moved.merge(
        [Document.decode(copy, kind=moved.KIND, at="signed copy") for copy in copies]
    )
    move = moved.read(founding, document, at="signed copy")
    moved.require_signed(founding, move)
    with closing(Endpoint.of(founding, folder).chain(founding)) as chain:
        moving.require_asked(chain, founding, move)
    key = _one_time_key(folder, move.number)
    if created(address_of(key), len(move.contracts)) != tuple(
        move.new[name] for name in move.contracts
    ):
        raise UsageError(
            "the addresses of this move are not those of the key that was made for it here",
            code="TW3514",
            at=str(_key_file(folder, move.number)),
            help="publish the move that `twinward server move` wrote in this folder",
        )
    found = moved.moved(founding, [document])
    with closing(Endpoint.of(found, folder).chain(found, key=key)) as deployer:
        deployer.deploy(
            founding_digest=founding.digest,
            members=[],
            only=[_NAMES[name] for name in move.contracts],
        )
    found = moving.after(founding, move, folder=folder)
    moved.keep(folder, found)
    return folder / moved.FILE, move


def _one_time_key(folder: Path, number: int) -> bytes:
    """Deploys the contracts of one move and nothing else: their addresses follow from it."""
    path = _key_file(folder, number)
    if not path.exists():
        write_secret(path, new_key().hex().encode())
    return bytes.fromhex(read_secret(path).decode())


def _key_file(folder: Path, number: int) -> Path:
    return Organisation(folder).secrets / f"move-{number}.key"
