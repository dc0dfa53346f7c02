"""Where the contracts stand and what their code must be: known before they are deployed."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib import resources
from typing import Any

from twinward.errors import LedgerError
from twinward.founding import Founding

CONTRACTS = ("Membership", "Consent", "Provenance", "AuditAnchor")
"""In the order of deployment: the deployer's account nonces from 0."""

_FIELDS = ("membership", "consent", "provenance", "audit_anchor")

NOWHERE = "0x" + "00" * 20
"""The address of nothing."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """The contracts' addresses, each ``0x`` and 40 lower-case hex digits.

    Attributes:
        membership: Who the members are.
        consent: Who permitted what.
        provenance: Records, approvals and the privacy spend.
        audit_anchor: How far each organisation's audit log has grown.
        before: The `Provenance` that this one replaced and reads, or `NOWHERE`.
    """

    membership: str
    consent: str
    provenance: str
    audit_anchor: str
    before: str = NOWHERE
    replaced: tuple[tuple[str, str], ...] = ()
    """Contracts, by name in `CONTRACTS`, and the addresses that they had before: their events stay
    part of the history."""

    @classmethod
    def of(cls, deployer: str) -> Addresses:
        """Where a fresh account's first transactions put them (rule of CREATE)."""
        membership, consent, provenance, audit_anchor = created(deployer, len(CONTRACTS))
        return cls(membership, consent, provenance, audit_anchor)

    def to_json(self) -> dict[str, str]:
        """For the founding file."""
        names: dict[str, Any] = asdict(self)
        del names["replaced"]
        if self.before == NOWHERE:
            del names["before"]
        return names

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Addresses:
        """Read what `to_json` wrote.

        Raises:
            LedgerError: TW5020.
        """
        try:
            found = cls(**{name: str(one).lower() for name, one in value.items()}, replaced=())
            sizes = {len(bytes.fromhex(a.removeprefix("0x"))) for a in (*found, found.before)}
        except (AttributeError, TypeError, ValueError):
            sizes = set()
        if sizes != {20}:
            raise LedgerError(
                "the contracts' addresses are not complete",
                code="TW5020",
                help="take the founding file that every member signed, unedited",
            )
        return found

    def __iter__(self) -> Iterator[str]:
        """In the order of deployment."""
        return iter((self.membership, self.consent, self.provenance, self.audit_anchor))


def contracts_of(founding: Founding) -> Addresses:
    """Where the contracts of this network stand now, and where they stood.

    Raises:
        LedgerError: TW5020.
    """
    names = dict(zip(_FIELDS, CONTRACTS, strict=True))
    replaced = tuple(
        (names[name], str(move.payload["old"][name]).lower())
        for move in founding.moves
        for name in _FIELDS
        if move.payload["old"][name] != move.payload["new"][name]
    )
    return replace(Addresses.from_json(founding.contracts), replaced=replaced)


def created(deployer: str, count: int) -> tuple[str, ...]:
    """The addresses of the contracts that an account's first transactions create."""
    account = bytes.fromhex(deployer[2:])
    return tuple(_create_address(account, nonce) for nonce in range(count))


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled contract as it is committed under ``ledger/contracts/artifacts``."""

    abi: list[dict[str, Any]]
    bytecode: bytes
    deployed: bytes
    immutables: tuple[tuple[int, int], ...]

    def matches(self, code: bytes) -> bool:
        """Whether code on the chain is this contract, whatever its constructor was given."""
        return self._masked(code) == self._masked(self.deployed)

    def _masked(self, code: bytes) -> bytes:
        masked = bytearray(code)
        for start, length in self.immutables:
            masked[start : start + length] = bytes(length)
        return bytes(masked)


@functools.cache
def artifact(name: str) -> Artifact:
    """The compiled contract of this name."""
    text = (resources.files("ledger.contracts") / "artifacts" / f"{name}.json").read_text("utf-8")
    value = json.loads(text)
    return Artifact(
        abi=value["abi"],
        bytecode=bytes.fromhex(value["bytecode"][2:]),
        deployed=bytes.fromhex(value["deployedBytecode"][2:]),
        immutables=tuple((r["start"], r["length"]) for r in value["immutableReferences"]),
    )


def _create_address(deployer: bytes, nonce: int) -> str:
    from eth_hash.auto import keccak  # noqa: PLC0415 - not needed to read addresses from a file

    # RLP of [20 bytes, small number]; zero is the empty string in RLP.
    packed = b"\xd6\x94" + deployer + (bytes([nonce]) if nonce else b"\x80")
    return "0x" + bytes(keccak(packed)[12:]).hex()
