"""The door for hospitals that hold an invitation: the only service that asks for no certificate.

Three questions, each with the token: who invites me, here is my request, how far am I. Whoever
guesses is made to wait. Nothing here makes anybody a member: hospitals do, by endorsing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc.aio

from ledger.chain import LedgerMember
from server import ca, ca_rollover
from server.admission import JoinRequest
from server.coordinator import Coordinator
from server.front_door_patience import WINDOW_SECONDS, InVain
from server.invitations import Candidate, Invitation, Register, used_already
from twinward import admission, authorities, canonical
from twinward.clock import Clock, iso
from twinward.errors import IdentityError, TwinwardError, UsageError
from twinward.founding import HOSPITAL, require_distinct
from twinward.join_token import hash_of
from twinward.organisation import Organisation
from twinward.rpc import protocol
from twinward.rpc.messages_pb2 import Blob
from twinward.rpc.messages_pb2_grpc import (
    JoinServicer,
    WithdrawalRelayServicer,
    add_JoinServicer_to_server,
    add_WithdrawalRelayServicer_to_server,
)
from twinward.rpc.peer import address_behind
from twinward.rpc.replies import abort
from twinward.rpc.tls import TlsFiles

LARGEST_REQUEST = 64 * 1024
_CALLS_AT_ONCE = 16


Answer = Callable[[dict[str, Any], str], dict[str, Any]]


class Joining:
    """What the door answers; no network in here."""

    def __init__(self, coordinator: Coordinator, register: Register, *, clock: Clock) -> None:
        self._coordinator = coordinator
        self._register = register
        self._clock = clock
        self._organisation = Organisation(coordinator.paths.folder)
        self._wrong = InVain(
            lambda: IdentityError(
                "too many wrong invitations came from this address",
                code="TW6019",
                help=f"wait {WINDOW_SECONDS:.0f} seconds, then use the token as it was printed",
            )
        )

    def hello(self, asked: dict[str, Any], address: str) -> dict[str, Any]:
        """Who invites whom, and the version of the protocol to go on with."""
        _, invitation = self._invitation(asked, address)
        return {
            "protocol": protocol.choose(asked.get("protocols")),
            "network": self._coordinator.founding.network,
            "hospital": invitation.org,
            "expires": iso(invitation.expires),
        }

    def enrol(self, asked: dict[str, Any], address: str) -> dict[str, Any]:
        """Take the request of an invited hospital, once; its certificate, which nobody serves yet.

        The same identity may ask again and is given the same.

        Raises:
            IdentityError: TW6016 to TW6019 the token; TW6023, TW6024, TW6025, TW2011, TW2040 the
                request.
        """
        token_hash, invitation = self._invitation(asked, address)
        protocol.choose([asked.get("protocol")])
        data = canonical.encode(asked.get("request"))
        request = JoinRequest.decode(data, at="join request")
        if invitation.candidate not in {None, request.identity.fingerprint}:
            raise used_already()
        trusted = authorities.statement(
            self._organisation.tls.ca.read_bytes(),
            network=self._coordinator.genesis.hex(),
            identity=self._coordinator.identity,
        )
        if invitation.renews:
            answer: dict[str, Any] = {"certificate": self._renew(token_hash, invitation, request)}
        else:
            if invitation.candidate is None:
                self._enrol(token_hash, invitation, request, data)
            founding = self._coordinator.founding.document
            answer = self._standing(self._candidate(request.identity.fingerprint))
            answer["founding"] = admission.as_json(founding)
        return answer | {"authorities": admission.as_json(trusted)}

    def standing(self, asked: dict[str, Any], address: str) -> dict[str, Any]:
        """How many hospitals have endorsed the one that used this token, and whether it is in."""
        _, invitation = self._invitation(asked, address)
        if invitation.candidate is None:
            raise IdentityError(
                "this invitation has not been used yet",
                code="TW6016",
                help="begin with `twinward node join`",
            )
        return self._standing(self._candidate(invitation.candidate))

    def _invitation(self, asked: dict[str, Any], address: str) -> tuple[bytes, Invitation]:
        self._wrong.require_patience(address)
        try:
            token_hash = hash_of(bytes.fromhex(asked["token"]))
            return token_hash, self._register.invitation(token_hash, now=self._clock.now())
        except (KeyError, TypeError, ValueError, TwinwardError) as error:
            self._wrong.note(address)
            if isinstance(error, TwinwardError):
                raise
            raise _malformed() from error

    def _enrol(
        self, token_hash: bytes, invitation: Invitation, request: JoinRequest, data: bytes
    ) -> None:
        founding = self._coordinator.founding
        if request.org != invitation.org or request.role != HOSPITAL:
            raise IdentityError(
                f"this invitation is for the hospital `{invitation.org}`, the request is of "
                f"`{request.org}`",
                code="TW6023",
                help="use the invitation in the folder of the hospital that it names",
            )
        ca.require_own_names(request.csr, org=request.org, hosts=invitation.hosts)
        now = self._clock.now()
        certificate = ca_rollover.issue(
            self._organisation, request.csr, org=request.org, hosts=invitation.hosts, now=now
        )
        document = admission.admission(founding, keys=request.keys, certificate=certificate)
        others = [one for one in self._register.candidates() if one.org != request.org]
        try:
            member = admission.candidate(founding, document)
            LedgerMember.of(member).as_tuple()
            for one in others:
                both = [founding.coordinator, member, admission.applicant(one.admission)]
                require_distinct(both, at="join request")
        except (IdentityError, ValueError) as error:
            raise IdentityError(
                f"the name or a key of `{request.org}` is not its alone, or not well formed",
                code="TW6024",
                note=str(error)[:200],
                help="make new keys: run `twinward node join` in a new folder",
            ) from error
        about = (f"digest:{document.digest.hex()}",)
        self._coordinator.did("hospital-asked-to-join", about=about)
        self._register.enrol(token_hash, request, data=data, admission=document, now=now)

    def _renew(self, token_hash: bytes, invitation: Invitation, request: JoinRequest) -> str:
        """A certificate for a member whose own has expired: for the keys that it has, no others."""
        member = self._coordinator.founding.member(invitation.org)
        if request.keys.digest != member.keys.digest:
            raise IdentityError(
                f"this request is not of the keys that `{member.org}` is a member with",
                code="TW6035",
                help="renew in the folder that holds them; new keys are a new member",
            )
        ca.require_own_names(request.csr, org=member.org, hosts=invitation.hosts)
        ca.require_key(request.csr, member.tls_spki_sha256, org=member.org)
        if invitation.candidate is None:
            self._register.use(token_hash, member.fingerprint)
        return ca_rollover.issue(
            self._organisation,
            request.csr,
            org=member.org,
            hosts=invitation.hosts,
            now=self._clock.now(),
        )

    def _candidate(self, fingerprint: str) -> Candidate:
        found = self._register.candidate(fingerprint)
        if found is None:  # another invitation for the same name was used since
            raise used_already()
        return found

    def _standing(self, one: Candidate) -> dict[str, Any]:
        founding = self._coordinator.founding
        by = [hospital.org for hospital in admission.endorsers(founding, one.admission)]
        return {
            "admission": admission.as_json(one.admission),
            "endorsed": [org for org in by if org != one.org],
            "needed": admission.needed(founding),
            "active": one.admitted,
            "admissions": [admission.as_json(each) for each in founding.admissions],
        }


class JoinService(JoinServicer):  # type: ignore[misc]
    """Carries bodies to the door and answers back."""

    def __init__(self, joining: Joining, *, door: bool) -> None:
        """``door``: whether a front door stands before this."""
        self._joining = joining
        self._door = door

    async def Hello(self, request: Blob, context: grpc.aio.ServicerContext) -> Blob:  # noqa: N802
        """Who invites whom."""
        return await self._answer(self._joining.hello, request, context)

    async def Enrol(self, request: Blob, context: grpc.aio.ServicerContext) -> Blob:  # noqa: N802
        """A certificate for the invited hospital, which nobody serves yet."""
        return await self._answer(self._joining.enrol, request, context)

    async def Standing(  # noqa: N802
        self, request: Blob, context: grpc.aio.ServicerContext
    ) -> Blob:
        """How far it is."""
        return await self._answer(self._joining.standing, request, context)

    async def _answer(
        self, answer: Answer, request: Blob, context: grpc.aio.ServicerContext
    ) -> Blob:
        try:
            asked = canonical.decode(request.data, at="request")
            if not isinstance(asked, dict):
                raise _malformed()
            address = address_behind(context, door=self._door)
            return Blob(data=canonical.encode(answer(asked, address)))
        except TwinwardError as error:
            await abort(context, error)


def join_server(
    service: JoinService, relay: WithdrawalRelayServicer, *, tls: TlsFiles, address: str
) -> grpc.aio.Server:
    """The server for who has no certificate: TLS of our CA, small bodies, few calls at once."""
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", LARGEST_REQUEST)],
        maximum_concurrent_rpcs=_CALLS_AT_ONCE,
    )
    add_JoinServicer_to_server(service, server)
    add_WithdrawalRelayServicer_to_server(relay, server)
    server.add_secure_port(address, tls.server_credentials(mutual=False, show_authority=True))
    return server


def _malformed() -> UsageError:
    return UsageError(
        "this is not a request of a hospital that was invited",
        code="TW6016",
        help="use `twinward node join` with the token as it was printed",
    )
