"""Joining a network that exists, step by step; safe to kill and to repeat at every line.

Keys are made here and stay here. The coordinator certifies the TLS key and carries signatures; the
other hospitals decide. The founding file is written last: without it this node has not joined.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from hospital_node.egress import note
from hospital_node.forwarder_command import address_of, at_hand
from hospital_node.forwarder_settings import ForwarderSettings
from hospital_node.join_link import JoinLink
from hospital_node.membership import load_founding
from hospital_node.settings import FILE, NodeSettings
from twinward import admission, authorities, canonical
from twinward.clock import SystemClock
from twinward.errors import EXIT_UNREACHABLE, IdentityError, TwinwardError, UsageError
from twinward.files import read_secret, sync_folder, write_atomic
from twinward.founding import Founding, Member
from twinward.ids import OrgName, org_name
from twinward.join_token import JoinToken
from twinward.organisation import REQUEST_KIND, Organisation
from twinward.reach import Reach
from twinward.settings import load
from twinward.signing import Document

STEPS: Final = 5
_LOOK_SECONDS = 1.0

Tell = Callable[[int, str], None]
"""Is told the number of the step that is done, and what was found."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the coordinator answered, every part of it checked.

    ``others`` is the network without this hospital; ``member`` is this hospital in it.
    """

    others: Founding
    member: Member
    admission: Document
    authorities: bytes
    answer: dict[str, Any]


def join(
    folder: Path,
    token_text: str | None,
    *,
    make: Callable[[OrgName], None],
    on_ledger: Callable[[Founding, OrgName], None],
    tell: Tell,
    wait: bool = True,
    way_out: ForwarderSettings | None = None,
) -> Founding | None:
    """Join, or go on with it; the network with this hospital in it.

    Args:
        folder: The node's folder; made if it is missing.
        token_text: The invitation; None goes on with the one that is kept here.
        make: Makes keys, request and configuration for a hospital of this name, where missing.
        on_ledger: Requires that the ledger knows this hospital.
        tell: Is told of each step.
        wait: Whether to wait for endorsements; otherwise None is returned while there are too few.
        way_out: The forwarder through which everything goes; None for the straight way.

    Raises:
        CoordinatorUnreachable: TW6061 to TW6065, what is in the way out.
        UsageError: TW6015 no token, TW6033 none is kept here, TW6022 no common protocol.
        IdentityError: TW6016 to TW6020 the token or the coordinator, TW6023 to TW6025 the request,
            TW6030 what the coordinator answered contradicts itself.
        CoordinatorUnreachable: TW6021; the same command goes on later.
    """
    if Organisation(folder).founding_file.exists():
        forget(folder)
        return load_founding(folder)
    token = JoinToken.parse(token_text) if token_text is not None else _kept(folder)
    reach = Reach() if way_out is None else Reach(forwarder=f"127.0.0.1:{way_out.port}")
    addresses = {"join": address_of(token.address)}
    with (
        at_hand(folder, settings=way_out, addresses=addresses),
        JoinLink(token, reach=reach) as link,
    ):
        hello = link.hello()
        org = org_name(hello["hospital"])
        _keep(folder, token)
        tell(1, f"invited as `{org}` by `{hello['network']}`; the CA has the token's fingerprint")
        make(org)
        _require_name(folder, org)
        tell(2, f"keys are in {Organisation(folder).secrets} and do not leave it")
        request = Organisation(folder).request_file(org).read_bytes()
        size, clock = len(request), SystemClock()
        note(folder, "network", "join-request", to="coordinator", size=size, clock=clock)
        answer = link.enrol(request, version=int(hello["protocol"]))
        terms = check(answer, token=token, organisation=Organisation(folder), org=org)
        tell(3, f"certificate received; this hospital's identity is {terms.member.fingerprint}")
        active = _endorsed(link, terms, tell=tell, wait=wait)
    if active is None:
        return None
    # The ledger knows members by their certificate; without founding file we have not joined yet.
    organisation = Organisation(folder)
    write_atomic(organisation.tls.ca, terms.authorities)
    write_atomic(organisation.tls.certificate, terms.member.certificate.encode())
    on_ledger(active, org)
    tell(4, f"endorsed and registered on the ledger: member {len(active.members)}")
    admission.keep(folder, active)
    write_atomic(organisation.founding_file, active.document.encode())
    forget(folder)
    tell(5, "configuration is complete")
    return active


def check(
    answer: dict[str, Any], *, token: JoinToken, organisation: Organisation, org: OrgName
) -> Terms:
    """Believe the coordinator's answer only where it leads back to signatures and to this request.

    Raises:
        IdentityError: TW6030, it does not fit; and what reading signed documents raises.
    """
    try:
        founding = Founding.decode(canonical.encode(answer["founding"]))
        stated = canonical.encode(answer["authorities"])
        trusted = authorities.read(
            Document.decode(stated, kind=authorities.KIND, at="authorities"), founding
        )
        asked = canonical.encode(answer["admission"])
        document = Document.decode(asked, kind=admission.KIND, at="admission")
        earlier = [one for one in _admissions(answer) if one.digest != document.digest]
    except (KeyError, TypeError, ValueError) as error:
        raise _unfit("a part of it is missing") from error
    others = admission.admitted(founding, earlier)
    member = admission.candidate(others, document)
    own = Document.decode(
        organisation.request_file(org).read_bytes(), kind=REQUEST_KIND, at="request"
    )
    if token.authority not in authorities.digests(trusted):
        raise _unfit("its authorities are not the one that the token names")
    if admission.as_json(member.keys) != own.payload["keys"]:
        raise _unfit("the admission names other keys than were made here")
    require_issued(member.certificate, trusted)
    return Terms(others, member, document, trusted, answer)


def require_issued(certificate: str, trusted: bytes) -> None:
    """Require that one of these authorities issued the certificate.

    Raises:
        IdentityError: TW6030.
    """
    leaf = x509.load_pem_x509_certificate(certificate.encode())
    for one in x509.load_pem_x509_certificates(trusted):
        try:
            leaf.verify_directly_issued_by(one)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return
    raise _unfit("the certificate is not by an authority of this network")


def identity_to_compare(folder: Path) -> str:
    """The fingerprint that the other hospitals ask for by phone."""
    return Organisation(folder).identity().public.fingerprint


def forget(folder: Path) -> None:
    """Remove the used token and what was kept for going on."""
    shutil.rmtree(folder / "join", ignore_errors=True)


def _endorsed(link: JoinLink, terms: Terms, *, tell: Tell, wait: bool) -> Founding | None:
    """The network with this hospital in it, once enough others signed and voted."""
    standing, said = terms.answer, ""
    while not standing["active"]:
        now = f"endorsed by {', '.join(standing['endorsed']) or 'nobody'}; "
        now += f"{len(standing['endorsed'])} of {standing['needed']}"
        if now != said:
            tell(3, said := now)
        if not wait:
            return None
        time.sleep(_LOOK_SECONDS)
        try:
            standing = link.standing()
        except TwinwardError as error:
            if error.diagnostic.exit_status != EXIT_UNREACHABLE:
                raise
            if said != error.diagnostic.message:
                tell(3, said := error.diagnostic.message)
    founding = Founding.decode(canonical.encode(terms.answer["founding"]))
    network = admission.admitted(founding, _admissions(standing))
    if network.member(terms.member.org).keys != terms.member.keys:
        raise _unfit("the hospitals endorsed other keys than were made here")
    return network


def _admissions(answer: dict[str, Any]) -> list[Document]:
    record = canonical.encode({"admissions": answer["admissions"]})
    return admission.decode(record, at="admissions")


def _keep(folder: Path, token: JoinToken) -> None:
    place = folder / "join"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(place / "token", token.text.encode(), mode=0o600)
    sync_folder(folder)


def _kept(folder: Path) -> JoinToken:
    path = folder / "join" / "token"
    if not path.exists():
        raise UsageError(
            "no join is under way in this folder",
            code="TW6033",
            at=str(folder),
            help="give the token that the coordinator made: `twinward node join FOLDER TOKEN`",
        )
    return JoinToken.parse(read_secret(path).decode())


def _require_name(folder: Path, org: OrgName) -> None:
    mine = load(NodeSettings, folder / FILE).org
    if mine != org:
        raise IdentityError(
            f"this folder is of `{mine}`, the invitation is for `{org}`",
            code="TW6023",
            at=str(folder),
            help="use the invitation in the folder of the hospital that it names",
        )


def _unfit(why: str) -> IdentityError:
    return IdentityError(
        "the coordinator's answer does not fit the invitation or this hospital's request",
        code="TW6030",
        note=why,
        help="nothing was taken over; tell the coordinator and the other hospitals",
    )
