"""What members ask of the coordinator about membership: who joined, who asks to, certificates.

The coordinator carries signatures here; it decides nothing but whom it serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc.aio

from server import ca, ca_rollover
from server.coordinator import Coordinator
from server.gate import Gate
from server.invitations import LEFT
from twinward import admission, authorities, canonical
from twinward.clock import Clock
from twinward.errors import IdentityError, TwinwardError, UsageError
from twinward.founding import Member
from twinward.organisation import LEAVING_KIND, Organisation
from twinward.rpc import protocol
from twinward.rpc.messages_pb2 import Blob, Nothing
from twinward.rpc.messages_pb2_grpc import NetworkServicer
from twinward.rpc.replies import abort
from twinward.signing import Document


class MembersService(NetworkServicer):  # type: ignore[misc]
    """The part of ``Network`` that is about who belongs to it."""

    def __init__(self, coordinator: Coordinator, gate: Gate, *, clock: Clock) -> None:
        self._coordinator = coordinator
        self._gate = gate
        self._clock = clock

    async def Members(  # noqa: N802
        self, request: Nothing, context: grpc.aio.ServicerContext
    ) -> Blob:
        """Every admission since the founding, with its endorsements."""
        del request
        return await self._answer(
            lambda _: admission.encode(self._coordinator.founding.admissions), context
        )

    async def Candidates(  # noqa: N802
        self, request: Nothing, context: grpc.aio.ServicerContext
    ) -> Blob:
        """Who asks to be endorsed."""
        del request
        return await self._answer(self._candidates, context)

    async def Endorse(  # noqa: N802
        self, request: Blob, context: grpc.aio.ServicerContext
    ) -> Blob:
        """Keep a hospital's signature on an admission."""
        return await self._answer(lambda by: self._endorse(by, request.data), context)

    async def Renew(self, request: Blob, context: grpc.aio.ServicerContext) -> Blob:  # noqa: N802
        """A new certificate for the key that the caller has, and the authorities to trust."""
        return await self._answer(
            lambda by: self._renew(by, request.data, context), context, although_left=True
        )

    async def Leave(self, request: Blob, context: grpc.aio.ServicerContext) -> Blob:  # noqa: N802
        """Stop serving the hospital that asks for it."""
        return await self._answer(
            lambda by: self._leave(by, request.data), context, although_left=True
        )

    async def Absent(self, request: Blob, context: grpc.aio.ServicerContext) -> Blob:  # noqa: N802
        """A hospital says why it is missing in the run under way."""
        try:
            fingerprint = self._gate.identify(context)
            members = self._coordinator.founding.members
            if self._coordinator.run is not None:
                by = next(one for one in members if one.fingerprint == fingerprint)
                await self._coordinator.run.take_absence(by, request.data)
            return Blob()
        except TwinwardError as error:
            await abort(context, error)

    async def _answer(
        self,
        answer: Callable[[Member], bytes],
        context: grpc.aio.ServicerContext,
        *,
        although_left: bool = False,
    ) -> Blob:
        try:
            fingerprint = self._gate.identify(context, although_left=although_left)
            members = self._coordinator.founding.members
            by = next(one for one in members if one.fingerprint == fingerprint)
            return Blob(data=await asyncio.to_thread(answer, by))
        except TwinwardError as error:
            await abort(context, error)

    def _candidates(self, by: Member) -> bytes:
        del by
        asking = [one for one in self._gate.register.candidates() if not one.admitted]
        return canonical.encode(
            {
                "candidates": [admission.as_json(one.admission) for one in asking],
                "needed": admission.needed(self._coordinator.founding),
            }
        )

    def _endorse(self, by: Member, data: bytes) -> bytes:
        signed = Document.decode(data, kind=admission.KIND, at="endorsement")
        founding, register = self._coordinator.founding, self._gate.register
        member = admission.applicant(signed, at="endorsement")
        known = register.candidate(member.fingerprint)
        if known is None or known.admission.digest != signed.digest:
            raise UsageError(
                "this is not what a candidate of this network asked to be endorsed for",
                code="TW6028",
                help="fetch it again with `twinward node endorse`",
            )
        if not by.is_hospital or self._coordinator.chain.is_suspended(
            bytes.fromhex(by.fingerprint)
        ):
            raise IdentityError(
                f"`{by.org}` is no active hospital and endorses nobody",
                code="TW6032",
                help="only hospitals endorse, and none while the others suspended it",
            )
        signed.verify(by.identity)
        signature = next(value for name, value in signed.signatures if name == by.fingerprint)
        register.endorsed(member.fingerprint, by.fingerprint, signature)
        have = register.candidate(member.fingerprint)
        count = 0 if have is None else len(admission.endorsers(founding, have.admission))
        return canonical.encode({"endorsements": count, "needed": admission.needed(founding)})

    def _renew(self, by: Member, data: bytes, context: grpc.aio.ServicerContext) -> bytes:
        asked = _fields(data, "protocols", "csr")
        version = protocol.choose(asked["protocols"])
        organisation = Organisation(self._coordinator.paths.folder)
        hosts = ca.hosts_of(self._gate.shown(context))
        csr = str(asked["csr"])
        ca.require_own_names(csr, org=by.org, hosts=hosts)
        ca.require_key(csr, by.tls_spki_sha256, org=by.org)
        certificate = ca_rollover.issue(
            organisation, csr, org=by.org, hosts=hosts, now=self._clock.now()
        )
        trusted = authorities.statement(
            organisation.tls.ca.read_bytes(),
            network=self._coordinator.genesis.hex(),
            identity=self._coordinator.identity,
        )
        return canonical.encode(
            {
                "protocol": version,
                "certificate": certificate,
                "authorities": admission.as_json(trusted),
            }
        )

    def _leave(self, by: Member, data: bytes) -> bytes:
        asked = Document.decode(data, kind=LEAVING_KIND, at="leave")
        asked.verify(by.identity)
        if asked.payload.get("network") != self._coordinator.genesis.hex():
            raise UsageError(
                "this is not a request to leave this network",
                code="TW6038",
                help="run `twinward node leave` in the hospital's own folder",
            )
        self._coordinator.did("hospital-left", about=(f"digest:{asked.digest.hex()}",))
        self._gate.register.put_out(by.fingerprint, by.org, why=LEFT, now=self._clock.now())
        return asked.signed_by(self._coordinator.identity).encode()


def _fields(data: bytes, *names: str) -> dict[str, Any]:
    value = canonical.decode(data, at="request")
    if not isinstance(value, dict) or set(value) != set(names):
        raise UsageError(
            "this request has other fields than this version knows",
            code="TW6022",
            help="update the older of the two installations; nothing was changed",
        )
    return value
