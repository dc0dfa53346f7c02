"""What the ledger says of a move: who has to sign it, and whether it may be in force."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from ledger.chain import Chain
from ledger.endpoint import Endpoint
from twinward.errors import LedgerError
from twinward.founding import Founding
from twinward.ids import Fingerprint
from twinward.moved import Move, moved, require_everyone, require_signed


def suspended(chain: Chain, founding: Founding) -> list[Fingerprint]:
    """The hospitals that the others suspended."""
    return [
        one.fingerprint
        for one in founding.hospitals
        if chain.is_suspended(bytes.fromhex(one.fingerprint))
    ]


def require_asked(chain: Chain, founding: Founding, move: Move) -> None:
    """Require that a move asks for exactly the hospitals that are active on the ledger.

    Raises:
        IdentityError: TW3512.
        LedgerError: TW5001 and what reading raises.
    """
    require_everyone(founding, move, suspended=suspended(chain, founding))


def after(founding: Founding, move: Move, *, folder: Path) -> Founding:
    """The network after a move that everyone signed, if it is in force on the ledger.

    Args:
        founding: The network before it.
        move: From ``twinward.moved.read``.
        folder: Of this organisation.

    Raises:
        IdentityError: TW2002, TW2004 a signature is wrong or missing; TW3512 as `require_asked`.
        LedgerError: TW3513 its block is yet to come; TW5023, the new contracts are not there, are
            others, or forget what the old ones knew.
    """
    require_signed(founding, move)
    endpoint = Endpoint.of(founding, folder)
    with closing(endpoint.chain(founding)) as chain:
        require_asked(chain, founding, move)
        newest = chain.tip().number
    if newest < move.block:
        raise LedgerError(
            f"the move counts from block {move.block}; the ledger is at {newest}",
            code="TW3513",
            help="run the same command again once the ledger is there",
        )
    found = moved(founding, [move.document])
    with closing(endpoint.chain(found)) as chain:
        chain.check_contracts(founding_digest=founding.digest)
    return found
