"""What a patient signs: a grant or a withdrawal, as EIP-712 typed data.

The same bytes are checked by the hospital, by the contract ``Consent`` and by an auditor. The
signing domain carries the genesis hash of the chain as salt, so a consent given on a test network,
or before a migration, means nothing anywhere else.
https://eips.ethereum.org/EIPS/eip-712
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, Self

from consent import signature as signatures
from consent.signature import keccak
from twinward.errors import ConsentError, UsageError
from twinward.founding import Founding

DAY = 86_400
DOMAIN_NAME = "Twinward Consent"
DOMAIN_VERSION = "1"
LAST_NONCE = 2**32 - 2
"""The highest nonce that leaves the contract room to count on."""

_DOMAIN_TYPE = (
    b"EIP712Domain(string name,string version,uint256 chainId,"
    b"address verifyingContract,bytes32 salt)"
)
_BYTES = {"bytes32": 32, "address": signatures.ADDRESS_BYTES}
_BITS = {"uint128": 128, "uint64": 64, "uint32": 32}
_LARGEST_JSON_INTEGER = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Domain:
    """Where a signature counts: one contract on one chain."""

    chain_id: int
    contract: bytes
    genesis: bytes

    def __post_init__(self) -> None:
        if len(self.contract) != signatures.ADDRESS_BYTES or len(self.genesis) != 32:
            raise _malformed("domain", "a contract address has 20 bytes, a genesis hash 32")

    @classmethod
    def of(cls, founding: Founding) -> Self:
        """The ledger and the contract that a network's consents are signed for."""
        return cls(
            chain_id=int(founding.chain["chain_id"]),
            contract=bytes.fromhex(str(founding.contracts["consent"]).removeprefix("0x")),
            genesis=bytes.fromhex(str(founding.chain["genesis_hash"])),
        )

    @property
    def separator(self) -> bytes:
        """The 32 bytes that EIP-712 puts under every digest of this domain."""
        return _separator(self)

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON form, for letters."""
        return {
            "chain_id": self.chain_id,
            "contract": self.contract.hex(),
            "genesis": self.genesis.hex(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            UsageError: TW3003.
        """
        try:
            return cls(
                int(value["chain_id"]),
                bytes.fromhex(value["contract"]),
                bytes.fromhex(value["genesis"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _malformed("domain", "a field is missing or has the wrong form") from error


@cache
def _separator(domain: Domain) -> bytes:
    return keccak(
        keccak(_DOMAIN_TYPE)
        + keccak(DOMAIN_NAME.encode())
        + keccak(DOMAIN_VERSION.encode())
        + domain.chain_id.to_bytes(32)
        + domain.contract.rjust(32, b"\0")
        + domain.genesis
    )


class _Typed:
    """EIP-712 struct hash, signature and JSON, driven by one table of Solidity fields."""

    __slots__ = ()
    NAME: ClassVar[str]
    FIELDS: ClassVar[tuple[tuple[str, str], ...]]
    TYPE_HASH: ClassVar[bytes]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        written = ",".join(f"{kind} {name}" for kind, name in cls.FIELDS)
        cls.TYPE_HASH = keccak(f"{cls.NAME}({written})".encode())

    def __post_init__(self) -> None:
        for (kind, name), value in zip(self.FIELDS, self.as_tuple(), strict=True):
            if kind in _BYTES:
                good = isinstance(value, bytes) and len(value) == _BYTES[kind]
            else:
                good = type(value) is int and 0 <= value < 1 << _BITS[kind]
                good = good and (kind == "uint128" or value <= _LARGEST_JSON_INTEGER)
            if not good:
                raise _malformed(self.NAME.lower(), f"`{name}` is not a {kind}")

    def as_tuple(self) -> tuple[Any, ...]:
        """The values in the order of the Solidity struct, byte strings as bytes."""
        return tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]

    def digest(self, domain: Domain) -> bytes:
        """The 32 bytes that are signed for this value in this domain; its name everywhere."""
        words = b"".join(
            value.rjust(32, b"\0") if isinstance(value, bytes) else value.to_bytes(32)
            for value in self.as_tuple()
        )
        return keccak(b"\x19\x01" + domain.separator + keccak(self.TYPE_HASH + words))

    def sign(self, key: bytes, domain: Domain) -> bytes:
        """The 65-byte signature of the subject's key over this value."""
        return signatures.sign(key, self.digest(domain))

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON form under the Solidity names; byte strings and ``purposes`` in hex."""
        names = (name for _, name in self.FIELDS)
        return {
            name: value.hex()
            if isinstance(value, bytes)
            else (f"{value:032x}" if name == "purposes" else value)
            for name, value in zip(names, self.as_tuple(), strict=True)
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; exactly these fields, each in its one form.

        Raises:
            UsageError: TW3003.
        """
        try:
            read = tuple(_read(kind, value[name]) for kind, name in cls.FIELDS)
            exact = set(value) == {name for _, name in cls.FIELDS}
        except (KeyError, TypeError, ValueError) as error:
            raise _malformed(cls.NAME.lower(), "a field is missing or misspelled") from error
        if not exact:
            raise _malformed(cls.NAME.lower(), "it has a field too many")
        return cls(*read)


@dataclass(frozen=True, slots=True)
class Grant(_Typed):
    """A permission: these purposes, for this study, from one moment to a UTC midnight.

    Times are Unix seconds. ``submit_by`` is the last moment at which the hospital may bring it to
    the ledger; ``nonce`` must equal the subject's current one there.
    """

    NAME: ClassVar[str] = "Grant"
    FIELDS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("bytes32", "network"),
        ("bytes32", "study"),
        ("address", "subject"),
        ("uint128", "purposes"),
        ("bytes32", "purposeTable"),
        ("bytes32", "scope"),
        ("bytes32", "termsShown"),
        ("uint64", "notBefore"),
        ("uint64", "expiry"),
        ("uint32", "nonce"),
        ("uint64", "submitBy"),
    )

    network: bytes
    study: bytes
    subject: bytes
    purposes: int
    purpose_table: bytes
    scope: bytes
    terms_shown: bytes
    not_before: int
    expiry: int
    nonce: int
    submit_by: int


@dataclass(frozen=True, slots=True)
class Withdrawal(_Typed):
    """The end of every grant with a nonce up to this one's. Anyone may bring it to the ledger."""

    NAME: ClassVar[str] = "Withdrawal"
    FIELDS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("bytes32", "network"),
        ("bytes32", "study"),
        ("address", "subject"),
        ("uint32", "nonce"),
        ("uint64", "signedAt"),
    )

    network: bytes
    study: bytes
    subject: bytes
    nonce: int
    signed_at: int


def require_signed(value: Grant | Withdrawal, signature: bytes, *, domain: Domain) -> bytes:
    """The digest, after checking that the subject itself signed this value for this domain.

    Raises:
        ConsentError: TW3002 malformed, TW3004 another network, TW3005 not by the subject.
    """
    if value.network != domain.genesis:
        raise ConsentError(
            f"this {value.NAME.lower()} was signed for another network",
            code="TW3004",
            note=f"for {value.network.hex()[:16]}, this is {domain.genesis.hex()[:16]}",
            help="use a letter of this network and sign again",
        )
    digest = value.digest(domain)
    signer = signatures.recover(digest, signature)
    if signatures.NO_ADDRESS in (signer, value.subject) or signer != value.subject:
        raise ConsentError(
            f"this {value.NAME.lower()} is not signed by the key that it speaks for",
            code="TW3005",
            note="a changed field, another chain or another contract also look like this",
            help="sign again with the patient's own device, with an unaltered letter",
        )
    return digest


def midnight_before(moment: float) -> int:
    """The last UTC midnight that is not after this moment: an expiry is rounded down, never up."""
    return int(moment // DAY) * DAY


def _read(kind: str, value: object) -> bytes | int:
    if kind in _BYTES or kind == "uint128":
        if not isinstance(value, str) or value != value.lower():
            raise ValueError(value)
        data = bytes.fromhex(value)
        if data.hex() != value or (kind == "uint128" and len(data) != 16):
            raise ValueError(value)
        return int.from_bytes(data) if kind == "uint128" else data
    if type(value) is not int:
        raise ValueError(value)
    return value


def _malformed(what: str, note: str) -> UsageError:
    return UsageError(
        f"this is not a well-formed {what}",
        code="TW3003",
        note=note,
        help="send it again exactly as the patient's device made it",
    )
