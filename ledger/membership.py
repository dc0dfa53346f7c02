"""Who the members are: calls of the contract `Membership`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from ledger.calls import Calls, ContractRefused, raw_address
from twinward.founding import Member


class Role(IntEnum):
    """What a member does, as the contract numbers it."""

    COORDINATOR = 1
    HOSPITAL = 2


@dataclass(frozen=True, slots=True)
class LedgerMember:
    """An organisation as the ledger knows it.

    Attributes:
        id: Fingerprint of its identity, 32 bytes.
        account: Its account, ``0x`` text in lower case.
        keys: Digest of its keys document, 32 bytes.
        role: What it does.
    """

    id: bytes
    account: str
    keys: bytes
    role: Role

    @classmethod
    def of(cls, member: Member) -> LedgerMember:
        """A member of the founding file, or of an admission, as the contract has to know it."""
        return cls(
            id=bytes.fromhex(member.fingerprint),
            account=member.ledger_account.lower(),
            keys=member.keys.digest,
            role=Role.HOSPITAL if member.is_hospital else Role.COORDINATOR,
        )

    def as_tuple(self) -> tuple[bytes, bytes, bytes, int]:
        """The values of the Solidity struct, in its order."""
        return (self.id, raw_address(self.account), self.keys, int(self.role))


class MembershipCalls(Calls):
    """Reading and changing who belongs to the network."""

    def member(self, identity: bytes) -> LedgerMember | None:
        """The member with this identity fingerprint (32 bytes), or None."""
        return _read(self.read("Membership", "member", identity))

    def member_of(self, account: str) -> LedgerMember | None:
        """The member with this account, or None."""
        return _read(self.read("Membership", "memberOf", raw_address(account)))

    def members(self) -> list[LedgerMember]:
        """Everyone, in the order of joining: the first has number 1."""
        count = self.read("Membership", "memberCount")
        found = (_read(self.read("Membership", "memberAt", n + 1)) for n in range(count))
        return [member for member in found if member is not None]

    def hospital_count(self) -> int:
        """How many hospitals are active."""
        return int(self.read("Membership", "hospitalCount"))

    def endorse(self, candidate: LedgerMember) -> None:
        """Vote as a hospital for letting this organisation in, with exactly these keys.

        Raises:
            ContractRefused: TW5030.
        """
        try:
            self.write("Membership", "endorse", candidate.as_tuple(), done=("AlreadyVoted",))
        except ContractRefused as refusal:
            if refusal.name != "AlreadyMember" or self.member(candidate.id) != candidate:
                raise

    def suspend(self, identity: bytes) -> None:
        """Vote as a hospital for suspending the member with this fingerprint; safe to repeat.

        Raises:
            ContractRefused: TW5030.
        """
        self._vote("suspend", identity)

    def reinstate(self, identity: bytes) -> None:
        """Vote as a hospital for reinstating a suspended member; safe to repeat.

        Raises:
            ContractRefused: TW5030.
        """
        self._vote("reinstate", identity)

    def is_suspended(self, identity: bytes) -> bool:
        """Whether the member with this fingerprint is suspended."""
        return bool(self.read("Membership", "isSuspended", identity))

    def number_of(self, account: str) -> int:
        """The member's number, from 1 in the order of joining; 0 for a stranger."""
        return int(self.read("Membership", "numberOf", raw_address(account)))

    def _vote(self, function: str, identity: bytes) -> None:
        self.write("Membership", function, identity, done=("AlreadyVoted", "NothingToChange"))


def _read(value: Any) -> LedgerMember | None:
    identity, account, keys, role = value
    if not role:
        return None
    return LedgerMember(bytes(identity), account.lower(), bytes(keys), Role(role))
