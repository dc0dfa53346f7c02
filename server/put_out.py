"""Whom the coordinator stopped serving, on the ledger, where a restore of its folder finds it.

Each change about a hospital is one digest, the n-th of that hospital, recorded by the coordinator.
It is made with a secret of the coordinator's identity: nobody else can make one, nor tell from the
ledger who was put out.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.chain import Chain, Kind
from server.invitations import LEFT, REVOKED, Register
from twinward import canonical
from twinward.founding import Founding, Member
from twinward.ids import Fingerprint
from twinward.signing import Identity

_SERVED = "served"
_PURPOSE = "members-put-out"


@dataclass(frozen=True, slots=True)
class PutOut:
    """What of the coordinator's register is on its ledger. All of it is safe to repeat."""

    chain: Chain
    identity: Identity

    def read_back(
        self, register: Register, founding: Founding, *, now: float
    ) -> list[tuple[Member, str | None]]:
        """Believe the ledger where it knows more than the register, which is of a backup then.

        Whoever stands as put out on the ledger is put out here. Whoever is served again there is
        served here too, unless the register was told otherwise since its backup.

        Returns:
            Of whom the ledger knew more, and what: why they are not served, None if they are.

        Raises:
            LedgerError: TW5001; then nobody may be served.
        """
        out, known = register.out(), register.recorded()
        learnt = []
        for one in founding.hospitals:
            changes, before = known.get(one.fingerprint, (0, None))
            newest, why = self._newest(one.fingerprint, after=changes, before=before)
            if newest == changes:
                continue
            learnt.append((one, why))
            if why is not None:
                register.put_out(one.fingerprint, one.org, why=why, now=now)
            elif out.get(one.fingerprint) == before:
                register.take_back(one.fingerprint)
            register.record(one.fingerprint, newest, why)
        return learnt

    def record(self, register: Register, founding: Founding) -> None:
        """Bring to the ledger what the register says and the ledger does not.

        Dying between the block and the note of it: the next start reads the block back.

        Raises:
            LedgerError: TW5001, TW5030; repeat it.
        """
        out, known = register.out(), register.recorded()
        for one in founding.hospitals:
            changes, before = known.get(one.fingerprint, (0, None))
            why = out.get(one.fingerprint)
            if why != before:
                self.chain.record(self._marker(one.fingerprint, changes + 1, why), Kind.PACK)
                register.record(one.fingerprint, changes + 1, why)

    def _newest(
        self, member: Fingerprint, *, after: int, before: str | None
    ) -> tuple[int, str | None]:
        """The number of a member's last change on the ledger, and what holds since."""
        while True:
            for why in (REVOKED, LEFT, None):
                if self.chain.recorded(self._marker(member, after + 1, why)) is not None:
                    after, before = after + 1, why
                    break
            else:
                return after, before

    def _marker(self, member: Fingerprint, change: int, why: str | None) -> bytes:
        return canonical.tagged_hash(
            "put-out/v1",
            self.identity.derive(_PURPOSE),
            bytes.fromhex(member),
            change.to_bytes(8, "little"),
            (why or _SERVED).encode(),
        )
