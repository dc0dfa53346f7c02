"""Who else belongs to the network, kept current; this hospital's part in letting somebody in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from hospital_node.egress import note
from hospital_node.membership import load_founding
from ledger.chain import Chain, LedgerMember
from twinward import admission, canonical
from twinward.clock import SystemClock
from twinward.errors import CoordinatorUnreachable, IdentityError
from twinward.founding import Founding, Member
from twinward.organisation import Organisation
from twinward.reach import Reach
from twinward.rpc.messages_pb2 import Blob, Nothing
from twinward.rpc.messages_pb2_grpc import NetworkStub
from twinward.rpc.replies import refusal_of
from twinward.signing import Document

if TYPE_CHECKING:
    from hospital_node.node import Node

CALL_SECONDS = 20.0
SHORTEST_FINGERPRINT = 16
"""Hex digits that a person has to compare: 64 bits."""


@dataclass(frozen=True, slots=True)
class Asking:
    """A candidate, with the hospitals whose signature it has."""

    member: Member
    document: Document
    endorsed: tuple[str, ...]
    needed: int


@contextmanager
def network(folder: Path, founding: Founding) -> Iterator[NetworkStub]:
    """The coordinator, over mutual TLS with the certificate that is on disk now."""
    credentials = Organisation(folder).tls.channel_credentials()
    options = Reach.of(folder).channel_options()
    with grpc.secure_channel(founding.endpoints["network"], credentials, options) as channel:
        yield NetworkStub(channel)


def ask(call: Callable[..., Blob], body: bytes | None = None) -> bytes:
    """One question to the coordinator.

    Raises:
        TwinwardError: Its refusal; TW6001, it does not answer.
    """
    try:
        answer = call(Nothing() if body is None else Blob(data=body), timeout=CALL_SECONDS)
    except grpc.RpcError as error:
        silent = CoordinatorUnreachable(
            "the coordinator does not answer",
            code="TW6001",
            help="check that it is up and that its address in the founding file is right",
        )
        raise refusal_of(error, otherwise=silent) from error
    data: bytes = answer.data
    return data


def refresh(folder: Path, founding: Founding, stub: NetworkStub, chain: Chain) -> Founding:
    """The network with everybody who joined since, kept on disk before it is used.

    Nobody who was a member is forgotten, and whoever is new was endorsed by signatures that are
    checked here and stands in ``Membership``.

    Raises:
        IdentityError: TW6027 too few endorsements, TW6042 the ledger does not know a new member,
            TW6043 the coordinator's list is not what was known here and more.
        CoordinatorUnreachable: TW6001.
    """
    listed = admission.decode(ask(stub.Members), at="members")
    known = [one.digest for one in founding.admissions]
    if [one.digest for one in listed[: len(known)]] != known:
        raise IdentityError(
            "the coordinator's list of members does not continue the one that is known here",
            code="TW6043",
            help="nothing was taken over; compare `admissions.json` with another hospital's",
        )
    new = admission.admitted(founding, listed[len(known) :])
    for member in new.members[len(founding.members) :]:
        if chain.member(bytes.fromhex(member.fingerprint)) != LedgerMember.of(member):
            raise IdentityError(
                f"`{member.org}` is endorsed but does not stand on the ledger like that",
                code="TW6042",
                help="try again in a few seconds; if it stays, compare with another hospital",
            )
    if new.admissions != founding.admissions:
        admission.keep(folder, new)
    return new


def catch_up(node: Node, sites: Sequence[str]) -> None:
    """Know every hospital of a plan, also one that joined while this node was up.

    Raises:
        IdentityError, CoordinatorUnreachable: What ``refresh`` raises; then the run is refused.
    """
    if {*sites} <= {member.org for member in node.founding.members}:
        return
    with network(node.folder, node.founding) as stub:
        node.founding = refresh(node.folder, node.founding, stub, node.chain)


def asking(founding: Founding, stub: NetworkStub) -> list[Asking]:
    """Who asks to be endorsed; whatever does not hold together is left out."""
    answer: dict[str, Any] = canonical.decode(ask(stub.Candidates), at="candidates")
    found = []
    for value in answer["candidates"]:
        data = canonical.encode(value)
        document = Document.decode(data, kind=admission.KIND, at="candidate")
        try:
            member = admission.candidate(founding, document)
            by = tuple(str(one.org) for one in admission.endorsers(founding, document))
        except IdentityError:
            continue
        found.append(Asking(member, document, by, admission.needed(founding)))
    return found


def endorse(folder: Path, one: Asking, *, identity: str, stub: NetworkStub, chain: Chain) -> Asking:
    """Sign and vote for this candidate; safe to repeat, each half by itself.

    Dying between the two leaves a signature without a vote, which lets nobody in.

    Args:
        folder: This hospital's.
        one: The candidate.
        identity: The fingerprint that the candidate said by phone, at least 16 hex digits of it.
        stub: The coordinator.
        chain: The ledger, for this hospital's account.

    Raises:
        IdentityError: TW6044, the candidate has another identity; TW6032, the coordinator takes no
            endorsement of this hospital.
        ContractRefused: TW5030.
    """
    given = "".join(identity.split()).lower()
    if len(given) < SHORTEST_FINGERPRINT or not one.member.fingerprint.startswith(given):
        raise IdentityError(
            f"who asks to join as `{one.member.org}` has another identity than you were told",
            code="TW6044",
            note=f"its identity is {one.member.fingerprint}",
            help="ask the hospital by phone, at a number that you knew before, and type at least "
            "16 digits of what it says; if they differ, somebody joins in its name",
        )
    signed = one.document.signed_by(Organisation(folder).identity())
    data, clock = signed.encode(), SystemClock()
    note(folder, "network", "endorsement", to="coordinator", size=len(data), clock=clock)
    counted = canonical.decode(ask(stub.Endorse, data), at="answer")
    note(folder, "ledger", "endorsement", to="ledger", size=300, clock=clock)
    chain.endorse(LedgerMember.of(one.member))
    own = load_founding(folder).members
    mine = Organisation(folder).identity().public.fingerprint
    name = next(str(each.org) for each in own if each.fingerprint == mine)
    return Asking(one.member, signed, tuple(sorted({*one.endorsed, name})), int(counted["needed"]))
