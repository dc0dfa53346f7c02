"""What it takes to ask a contract: reading, writing, and the contract's refusals by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.deployed import CONTRACTS, artifact
from twinward.errors import LedgerError


class ContractRefused(LedgerError):
    """A contract reverted; nothing changed.

    Attributes:
        name: The contract's custom error, for example ``NotAHospital``.
        values: What the contract gave with it, by its names.
    """

    def __init__(self, contract: str, name: str, values: Mapping[str, Any]) -> None:
        shown = ", ".join(
            f"{key}={value.hex() if isinstance(value, bytes) else value}"
            for key, value in values.items()
        )
        super().__init__(
            f"the contract `{contract}` refused: {name}({shown})",
            code="TW5030",
            help=f"see `error {name}` in ledger/contracts/src/{contract}.sol for its condition",
        )
        self.name = name
        self.values = dict(values)


@dataclass(frozen=True, slots=True)
class Log:
    """An event of a contract.

    Attributes:
        topics: The event's own topic first, then its indexed values, 32 bytes each.
        data: The other values, 32 bytes each.
    """

    topics: tuple[bytes, ...]
    data: bytes


class Calls(ABC):
    """The plumbing under every contract's calls; `ledger.chain.Chain` provides it.

    Addresses are 20 bytes in arguments and ``0x`` text in results.
    """

    @abstractmethod
    def read(self, contract: str, function: str, *arguments: Any) -> Any:
        """The result of a view function at the newest block."""

    @abstractmethod
    def write(
        self,
        contract: str,
        function: str,
        *arguments: Any,
        gas: int = 1_000_000,
        done: Sequence[str] = (),
        rehearse: bool = True,
    ) -> list[Log]:
        """Send a transaction; on return it stands in a block. Returns the contract's events.

        Args:
            contract: One of `deployed.CONTRACTS`.
            function: Its name.
            *arguments: In the contract's order.
            gas: Limit of the transaction.
            done: Refusals that mean it was applied before.
            rehearse: Run it as a call first, so that a refusal never becomes a transaction.
        """

    @abstractmethod
    def logs(self, contract: str, topics: Sequence[bytes | None]) -> list[Log]:
        """All events of a contract with these topics, from the first block on."""

    @property
    @abstractmethod
    def account(self) -> str:
        """The own account, ``0x`` text; refused on a connection that only reads."""


def raw_address(account: str) -> bytes:
    """The 20 bytes of an address in ``0x`` text."""
    return bytes.fromhex(account.removeprefix("0x"))


def refusal(contract: str, data: bytes) -> ContractRefused:
    """Name a refusal by the contract's custom errors.

    Args:
        contract: One of `deployed.CONTRACTS`; anything else has no names.
        data: What a revert returned, or what a batch says of an item that it left out.
    """
    from eth_abi.abi import decode  # noqa: PLC0415 - comes with web3
    from eth_hash.auto import keccak  # noqa: PLC0415 - the same

    for entry in artifact(contract).abi if contract in CONTRACTS else ():
        if entry["type"] != "error":
            continue
        types = [value["type"] for value in entry["inputs"]]
        if keccak(f"{entry['name']}({','.join(types)})".encode())[:4] == data[:4]:
            names = [value["name"] for value in entry["inputs"]]
            values = dict(zip(names, decode(types, data[4:]), strict=True))
            return ContractRefused(contract, entry["name"], values)
    return ContractRefused(contract, "Reverted", {"data": data})
