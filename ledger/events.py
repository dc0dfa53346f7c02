"""Events of the contracts as values, decoded by hand from what a ledger node tells.

Which events there are is read from the committed ABI, so a contract that gains one is decoded
without a change here. No library's decoding is trusted or waited for (web3.py: 1,700 events a
second; this: some hundred thousand).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eth_hash.auto import keccak

from ledger.deployed import CONTRACTS, Addresses, artifact
from twinward.errors import LedgerError

Value = int | bytes | tuple[bytes, ...]
"""A number, an address (20 bytes), 32 bytes, bytes of any length, or a list of 32 bytes."""

_WORD = 32
_FIXED = re.compile(r"uint\d+|address|bytes32|bool")
_DYNAMIC = ("bytes32[]", "bytes")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one of the network's contracts, where it stands and when.

    Attributes:
        number: From 1, over all contracts in the order of the chain.
        block: Number of its block.
        position: Its place among all events of that block.
        time: The block's time, Unix seconds.
        transaction: Hash of the transaction that caused it, 32 bytes.
        contract: Name of the contract.
        name: Name of the event.
        values: What it says, by the names of the ABI.
    """

    number: int
    block: int
    position: int
    time: int
    transaction: bytes
    contract: str
    name: str
    values: Mapping[str, Value]

    @property
    def kind(self) -> str:
        """Contract and event: ``Consent.ConsentChanged``."""
        return f"{self.contract}.{self.name}"

    def integer(self, name: str) -> int:
        """The value of this name, a number."""
        value = self.values[name]
        assert isinstance(value, int)  # noqa: S101 - the ABI says so
        return value

    def raw(self, name: str) -> bytes:
        """The value of this name, an address or bytes."""
        value = self.values[name]
        assert isinstance(value, bytes)  # noqa: S101 - the ABI says so
        return value

    def parts(self, name: str) -> tuple[bytes, ...]:
        """The value of this name, a list."""
        value = self.values[name]
        assert isinstance(value, tuple)  # noqa: S101 - the ABI says so
        return value


@dataclass(frozen=True, slots=True)
class EventForm:
    """What one event of a contract looks like.

    Attributes:
        contract: Name of the contract.
        name: Name of the event.
        topic: Keccak-256 of its signature, 32 bytes.
        indexed: Name and type of the values in topics, in order.
        plain: Name and type of the values in the data, in order.
        names: All names in the order of the ABI.
    """

    contract: str
    name: str
    topic: bytes
    indexed: tuple[tuple[str, str], ...]
    plain: tuple[tuple[str, str], ...]
    names: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Contract and event: ``Consent.ConsentChanged``."""
        return f"{self.contract}.{self.name}"

    @property
    def table(self) -> str:
        """Its table in a history: ``consent_consent_changed``."""
        return "_".join(_HUMP.sub("_", part).lower() for part in (self.contract, self.name))

    @property
    def types(self) -> dict[str, str]:
        """Type by name."""
        return dict(self.indexed + self.plain)

    def read(self, topics: list[bytes], data: bytes) -> dict[str, Value]:
        """The values of a log of this form; a ValueError if it is not one."""
        heads = _WORD * len(self.plain)
        if len(topics) != len(self.indexed) + 1 or len(data) < heads or len(data) % _WORD:
            raise ValueError("not an event of this form")
        found = {
            name: _word(kind, word)
            for (name, kind), word in zip(self.indexed, topics[1:], strict=True)
        }
        tail = heads
        for place, (name, kind) in enumerate(self.plain):
            word = data[_WORD * place : _WORD * (place + 1)]
            if kind in _DYNAMIC:
                found[name], tail = _dynamic(kind, data, word, start=tail)
            else:
                found[name] = _word(kind, word)
        if tail != len(data):
            raise ValueError("bytes are left over")
        return found


def _word(kind: str, word: bytes) -> Value:
    if len(word) != _WORD:
        raise ValueError("a word has 32 bytes")
    if kind == "bytes32":
        return word
    if kind == "address":
        if any(word[:12]):
            raise ValueError("not an address")
        return word[12:]
    number = int.from_bytes(word, "big")
    if number >> (1 if kind == "bool" else int(kind[4:])):
        raise ValueError(f"not a {kind}")
    return number


def _dynamic(kind: str, data: bytes, word: bytes, *, start: int) -> tuple[Value, int]:
    """What stands at the one place where the compiler puts it, and where that ends."""
    first = start + _WORD
    count = int.from_bytes(data[start:first], "big")
    size = count * _WORD if kind == "bytes32[]" else count
    end = first + -(-size // _WORD) * _WORD
    content, padding = data[first : first + size], data[first + size : end]
    if word != start.to_bytes(_WORD, "big") or end > len(data) or any(padding):
        raise ValueError(f"{kind} is out of place")
    if kind == "bytes":
        return content, end
    return tuple(content[_WORD * n : _WORD * (n + 1)] for n in range(count)), end


@functools.cache
def forms() -> tuple[EventForm, ...]:
    """Every event of every contract, in the order of deployment and of the ABI.

    Raises:
        LedgerError: TW3700, an event has a value of a type that is not read here.
    """
    return tuple(
        _form(name, entry)
        for name in CONTRACTS
        for entry in artifact(name).abi
        if entry["type"] == "event"
    )


def form(kind: str) -> EventForm | None:
    """The form of ``Contract.Event``, or None while no contract has it."""
    return next((one for one in forms() if one.kind == kind), None)


def _form(contract: str, entry: Mapping[str, Any]) -> EventForm:
    inputs = [(one["name"], one["type"], one["indexed"]) for one in entry["inputs"]]
    for name, kind, indexed in inputs:
        if not (_FIXED.fullmatch(kind) or (kind in _DYNAMIC and not indexed)):
            raise LedgerError(
                f"the event `{entry['name']}` of `{contract}` has a value of type `{kind}`",
                code="TW3700",
                at=name,
                help="add the type to ledger/events.py before this contract is used",
            )
    signature = f"{entry['name']}({','.join(kind for _, kind, _ in inputs)})"
    return EventForm(
        contract=contract,
        name=entry["name"],
        topic=bytes(keccak(signature.encode())),
        indexed=tuple((name, kind) for name, kind, indexed in inputs if indexed),
        plain=tuple((name, kind) for name, kind, indexed in inputs if not indexed),
        names=tuple(name for name, _, _ in inputs),
    )


class Decoder:
    """Turns logs of one network's contracts into values."""

    def __init__(self, contracts: Addresses) -> None:
        """For the contracts at these addresses."""
        places = [*zip(CONTRACTS, contracts, strict=True), *contracts.replaced]
        self._forms = {
            (address, one.topic): one
            for name, address in places
            for one in forms()
            if one.contract == name
        }

    def read(self, log: Mapping[str, Any]) -> tuple[EventForm, dict[str, Value]]:
        """The form and the values of a JSON-RPC log.

        Raises:
            LedgerError: TW3701, no event of these contracts looks like this.
        """
        try:
            topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
            found = self._forms[str(log["address"]).lower(), topics[0]]
            return found, found.read(topics, bytes.fromhex(log["data"][2:]))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise LedgerError(
                "the ledger's node tells of an event that no contract of this network has",
                code="TW3701",
                note=f"block {log.get('blockNumber')}, position {log.get('logIndex')}",
                help="do not use this ledger node; connect to another and run the same command",
            ) from error
