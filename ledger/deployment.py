"""Putting the contracts where the founding file says, and requiring that they stand there."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from ledger.calls import Calls, raw_address
from ledger.deployed import CONTRACTS, Addresses, artifact, created
from ledger.membership import LedgerMember
from twinward.errors import LedgerError


class DeploymentCalls(Calls):
    """Deployment and the check of what stands there; `ledger.chain.Chain` gives the plumbing.

    Attributes:
        url: JSON-RPC address, for refusals.
        contracts: Where the contracts stand, from the founding file.
    """

    url: str
    contracts: Addresses

    @abstractmethod
    def genesis(self) -> bytes:
        """The hash of the first block that the node shows."""

    @abstractmethod
    def code_at(self, address: str) -> bytes:
        """The code of the contract there; empty if there is none."""

    @abstractmethod
    def create(self, contract: str, *arguments: Any, nonce: int) -> None:
        """Make a contract by the own account's transaction of this number, from 0."""

    def deploy(
        self,
        *,
        founding_digest: bytes,
        members: Sequence[LedgerMember],
        only: Sequence[str] = CONTRACTS,
    ) -> Addresses:
        """Put the contracts where the founding file says, as the coordinator. Safe to repeat.

        Dying between two of them leaves the first ones; calling again adds the rest.

        Args:
            founding_digest: What `Membership` is founded on.
            members: Whom it knows from the start.
            only: The contracts that this account's first transactions make; all at the founding.

        Raises:
            LedgerError: TW5022 not the coordinator's account, TW5023 something else is there.
        """
        places = dict(zip(CONTRACTS, self.contracts, strict=True))
        made = dict(zip(only, created(self.account, len(only)), strict=True))
        if any(places[name] != address for name, address in made.items()):
            raise LedgerError(
                "this account is not the one that the founding file lets deploy the contracts",
                code="TW5022",
                help="run this on the coordinator, with its own keys",
            )
        membership = raw_address(self.contracts.membership)
        arguments: dict[str, tuple[Any, ...]] = {
            "Membership": (founding_digest, [member.as_tuple() for member in members]),
            "Consent": (membership, self.genesis()),
            "Provenance": (membership, raw_address(self.contracts.before)),
            "AuditAnchor": (membership,),
        }
        for nonce, (name, address) in enumerate(made.items()):
            if not self.code_at(address):
                self.create(name, *arguments[name], nonce=nonce)
        self.check_contracts(founding_digest=founding_digest)
        return self.contracts

    def check_contracts(self, *, founding_digest: bytes) -> None:
        """Require that exactly our contracts stand there, built on this founding file.

        Raises:
            LedgerError: TW5023.
        """
        for name, address in zip(CONTRACTS, self.contracts, strict=True):
            if not artifact(name).matches(self.code_at(address)):
                raise foreign(name, "is missing or has other code", at=self.url)
        if self.read("Membership", "foundingDigest") != founding_digest:
            raise foreign("Membership", "was founded on another file", at=self.url)
        if self.read("Consent", "network") != self.genesis():
            raise foreign("Consent", "is for another network", at=self.url)
        if self.read("Provenance", "predecessor").lower() != self.contracts.before:
            raise foreign("Provenance", "forgets, or follows, another one", at=self.url)
        for name in CONTRACTS[1:]:
            if self.read(name, "membership").lower() != self.contracts.membership:
                raise foreign(name, "asks another contract who the members are", at=self.url)


def foreign(contract: str, why: str, *, at: str) -> LedgerError:
    """The refusal of a contract that is not the one of the founding file."""
    return LedgerError(
        f"the contract `{contract}` {why}",
        code="TW5023",
        at=at,
        help="compare the founding file and the version of Twinward with the coordinator's",
    )
