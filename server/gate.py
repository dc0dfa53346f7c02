"""Who is served: members that nobody put out; and the moment at which a candidate becomes one.

A member is put out by a command that writes to the register. Every new call is held against it;
streams that are open end, and Flower forgets the key, at the next look, twice a second. The ledger
is told too, so that it outlives the loss of the folder (``put_out``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

import grpc.aio
from cryptography import x509

from ledger.chain import LedgerMember
from server import ca_rollover, front_door, ledger_door
from server.coordinator import Coordinator
from server.invitations import LEFT, REVOKED, Candidate, Register
from server.put_out import PutOut
from twinward import admission
from twinward.clock import Clock
from twinward.errors import IdentityError, TwinwardError
from twinward.ids import Fingerprint, OrgName
from twinward.logging import log
from twinward.organisation import Organisation
from twinward.rpc.peer import certificate_behind, member_with

_LOOK_SECONDS = 0.5
_OWN_SECONDS = 3600.0
_SEEN_SECONDS = 10.0


class Gate:
    """One for a coordinator; lives on its event loop."""

    def __init__(self, coordinator: Coordinator, register: Register, *, clock: Clock) -> None:
        self._coordinator = coordinator
        self.register = register
        self._streams: dict[asyncio.Task[object], Fingerprint] = {}
        self._known_to_flower: dict[OrgName, str] = {}
        self._denied: set[str] | None = None
        self._clock = clock
        self._own_looked = 0.0
        self._seen_kept = 0.0
        self._put_out = PutOut(coordinator.chain, coordinator.identity)
        coordinator.seen.update(register.seen())
        self._tls = Organisation(coordinator.paths.folder).tls
        self._shown = self._tls.stamp()
        """The certificate and authorities that Flower's SuperLink began with."""
        self._door = front_door.key_digest(coordinator.paths.folder)

    def identify(
        self, context: grpc.aio.ServicerContext, *, although_left: bool = False
    ) -> Fingerprint:
        """The member behind the caller's certificate, if it is served.

        Args:
            context: Of the call.
            although_left: Whether a hospital that left of its own will is served here: it still
                follows the ledger, for its patients' withdrawals.

        Raises:
            IdentityError: TW2030, TW2031 not a member; TW6029, it was put out.
        """
        return self.admit(self.shown(context), although_left=although_left)

    def shown(self, context: grpc.aio.ServicerContext) -> x509.Certificate:
        """The caller's certificate, also through the front door.

        Raises:
            IdentityError: TW2030, there is none.
        """
        return certificate_behind(context, door=self._door)

    def admit(self, certificate: x509.Certificate, *, although_left: bool = False) -> Fingerprint:
        """The member whose certificate this is, if it is served; arguments as of `identify`.

        Raises:
            IdentityError: TW2031 not a member; TW6029, it was put out.
        """
        member = member_with(certificate, self._coordinator.founding)
        why = self.register.out().get(member.fingerprint)
        if why is not None and not (although_left and why == LEFT):
            raise IdentityError(
                f"`{member.org}` is not served any more: its certificate was revoked, or it left",
                code="TW6029",
                help="ask the coordinator why; what was trained and recorded stays as it is",
            )
        self._coordinator.seen[member.fingerprint] = self._clock.now()
        return member.fingerprint

    @contextlib.contextmanager
    def stream(self, peer: Fingerprint) -> Iterator[None]:
        """For as long as a stream of this member is open; putting the member out ends it."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - gRPC runs every call in a task
        self._streams[task] = peer
        try:
            yield
        finally:
            del self._streams[task]

    async def read_back(self) -> None:
        """Put out again whom a folder from a backup has forgotten; before any port is opened.

        Raises:
            LedgerError: TW5001, the ledger does not say: then nobody may be served.
        """
        founding, now = self._coordinator.founding, self._clock.now()
        found = await asyncio.to_thread(self._put_out.read_back, self.register, founding, now=now)
        for member, why in found:
            what = "hospital-unrevoked" if why is None else f"hospital-{why}"
            self._coordinator.did(what, about=(f"digest:{member.keys.digest.hex()}",))
            log().warning("read back from the ledger", peer=member.org, reason=what)
        await self._tell_ledger(self.register.out())

    async def watch(self) -> None:
        """Look again and again, until cancelled; what fails is tried at the next look.

        Side by side: while the ledger is silent, and nothing can be kept there, whoever is to be
        put out is put out all the same.
        """
        async with asyncio.TaskGroup() as both:
            both.create_task(self._again(self.look, "membership is not up to date"))
            both.create_task(self._again(self.keep, "membership is not kept"))

    async def _again(self, work: Callable[[], Awaitable[None]], words: str) -> None:
        trouble = None
        while True:
            try:
                await work()
                trouble = None
            except Exception as error:  # noqa: BLE001 - or nobody would be put out from then on
                what = error.code if isinstance(error, TwinwardError) else type(error).__name__
                if trouble != what:
                    log().warning(words, code=what)
                trouble = what
            await asyncio.sleep(_LOOK_SECONDS)

    async def keep(self) -> None:
        """Bring to the ledger who was put out or taken back; keep when members called."""
        now = self._clock.now()
        if now >= self._seen_kept + _SEEN_SECONDS:
            self._seen_kept = now
            await asyncio.to_thread(self.register.saw, dict(self._coordinator.seen))
        await asyncio.to_thread(self._put_out.record, self.register, self._coordinator.founding)

    async def look(self) -> None:
        """Put out who is to be put out, first; let in who was endorsed; renew what is due."""
        out = self.register.out()
        for task, peer in list(self._streams.items()):
            if peer in out:
                task.cancel()
        await self._tell_ledger(out)
        served = {
            hospital.org: hospital.flower_public_key
            for hospital in self._coordinator.founding.hospitals
            if hospital.fingerprint not in out
        }
        if served != self._known_to_flower:
            await asyncio.to_thread(self._coordinator.superlink.enrol, served)
            self._known_to_flower = served
        for one in self.register.candidates():
            if not one.admitted and await asyncio.to_thread(self._is_endorsed, one):
                self._admit(one)
                await self._tell_ledger(out)
                self.register.admitted(one.fingerprint)  # last: now it is told that it is in
        await asyncio.to_thread(self._renew_own)
        if self._tls.stamp() != self._shown and self._coordinator.run is None:
            stamp = self._tls.stamp()
            await asyncio.to_thread(self._coordinator.superlink.restart)
            self._shown = stamp

    def _renew_own(self) -> None:
        """The coordinator's own certificate, when it is due; its servers take it up at once."""
        now = self._clock.now()
        if now < self._own_looked + _OWN_SECONDS:
            return
        self._own_looked = now
        organisation = Organisation(self._coordinator.paths.folder)
        if ca_rollover.renew_own_if_due(organisation, self._coordinator.founding, now=now):
            log().info("own certificate renewed")

    async def _tell_ledger(self, out: dict[Fingerprint, str]) -> None:
        """Whose certificate the ledger's node takes no more, or not yet.

        A hospital that left of its own will may go on bringing its patients' withdrawals there.
        """
        members = self._coordinator.founding.members
        revoked = {name for name, why in out.items() if why == REVOKED}
        denied = {one.tls_spki_sha256 for one in members if one.fingerprint in revoked}
        known = {one.fingerprint for one in members}
        denied |= {
            admission.applicant(one.admission).tls_spki_sha256
            for one in self.register.candidates()
            if one.fingerprint not in known
        }
        if denied != self._denied:
            await asyncio.to_thread(ledger_door.revoke, self._coordinator.paths.ledger, denied)
            self._denied = denied

    def _is_endorsed(self, one: Candidate) -> bool:
        """Whether enough hospitals signed, and as many voted on the ledger."""
        founding = self._coordinator.founding
        if one.fingerprint in {member.fingerprint for member in founding.members}:
            return True
        if len(admission.endorsers(founding, one.admission)) < admission.needed(founding):
            return False
        try:
            member = admission.candidate(founding, one.admission)
        except IdentityError:  # somebody with its name or a key of it became a member since
            return False
        found = self._coordinator.chain.member(bytes.fromhex(member.fingerprint))
        return found == LedgerMember.of(member)

    def _admit(self, one: Candidate) -> None:
        """Make the candidate a member: on disk first, then here; safe to repeat."""
        founding = self._coordinator.founding
        if one.fingerprint not in {member.fingerprint for member in founding.members}:
            founding = admission.admitted(founding, [one.admission])
            digest = one.admission.digest.hex()
            self._coordinator.did("hospital-joined", about=(f"digest:{digest}",))
            admission.keep(self._coordinator.paths.folder, founding)
            self._coordinator.welcome(founding)
            log().info("hospital joined", peer=one.org)
