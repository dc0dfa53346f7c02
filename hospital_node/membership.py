"""This hospital's part in founding the network: check, sign, and take over the complete file."""

from __future__ import annotations

from pathlib import Path

from hospital_node.settings import FILE, NodeSettings
from twinward.admission import with_joined
from twinward.errors import IdentityError, UsageError
from twinward.files import read_given, write_atomic
from twinward.founding import Founding, Member
from twinward.organisation import Organisation
from twinward.settings import load


def sign(folder: Path, path: Path) -> tuple[Path, Founding]:
    """Sign the file if it names this hospital with exactly its own keys.

    Returns:
        Where the signed copy lies, and what was signed.

    Raises:
        IdentityError: TW2010 this hospital is not in it, TW2013 with other keys than its own.
    """
    settings = load(NodeSettings, folder / FILE)
    founding = Founding.draft(read_given(path), at=str(path))
    _require_self(founding, folder, settings)
    copy = folder / f"founding.{settings.org}.json"
    write_atomic(copy, founding.document.signed_by(Organisation(folder).identity()).encode())
    return copy, founding


def accept(folder: Path, path: Path) -> Founding:
    """Keep the complete file; certificate and CA are taken from it.

    The founding file is written last: a crash before it leaves a node that has not joined.

    Raises:
        IdentityError: TW2002, TW2004 a signature is wrong or missing, TW2010, TW2013.
    """
    settings = load(NodeSettings, folder / FILE)
    organisation = Organisation(folder)
    founding = Founding.decode(read_given(path), at=str(path))
    member = _require_self(founding, folder, settings)
    write_atomic(organisation.tls.ca, founding.ca_certificate.encode())
    write_atomic(organisation.tls.certificate, member.certificate.encode())
    write_atomic(organisation.founding_file, founding.document.encode())
    return founding


def load_founding(folder: Path) -> Founding:
    """The complete founding file of this node, every signature checked again.

    Raises:
        UsageError: TW1035, there is none yet.
    """
    path = Organisation(folder).founding_file
    if not path.exists():
        raise UsageError(
            "this node has not joined a network yet",
            code="TW1035",
            at=str(path),
            help="run `twinward node join` with an invitation, or, as a founder, `twinward node "
            "accept` with the complete founding file",
        )
    return with_joined(Founding.decode(path.read_bytes(), at=str(path)), folder)


def _require_self(founding: Founding, folder: Path, settings: NodeSettings) -> Member:
    member = founding.member(settings.org)
    if member.identity != Organisation(folder).identity().public:
        raise IdentityError(
            f"the file names `{settings.org}` with another identity than the one made here",
            code="TW2013",
            help="do not sign; somebody may be trying to join in this hospital's name",
        )
    return member
