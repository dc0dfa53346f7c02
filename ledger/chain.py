"""The ledger as Python calls, over any Ethereum JSON-RPC. The only importer of web3.

Every write returns once its block is on the ledger. Writes are safe to repeat: what this account
had applied before counts as done, so a process that died between sending and hearing the answer
simply calls again.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ledger.account import address_of
from ledger.anchor import Anchor, AnchorCalls
from ledger.calls import ContractRefused, Log, raw_address, refusal
from ledger.consents import ConsentCalls
from ledger.deployed import CONTRACTS, Addresses, artifact
from ledger.deployment import DeploymentCalls, foreign
from ledger.membership import LedgerMember, MembershipCalls, Role
from ledger.provenance import Kind, ProvenanceCalls, Reservation
from ledger.rpc import DENIED, NOT_LET_IN, RpcError, not_let_in, unreachable
from ledger.session import http_session
from ledger.tip import Tip
from twinward.errors import LedgerError, LedgerUnreachable

if TYPE_CHECKING:
    from web3 import Web3

__all__ = [
    "Addresses",
    "Anchor",
    "Chain",
    "ContractRefused",
    "Kind",
    "LedgerMember",
    "Reservation",
    "Role",
    "Tip",
]

_GAS_TO_DEPLOY = 5_000_000
_POLL_SECONDS = 0.02
_ATTEMPTS = 3


class Chain(DeploymentCalls, MembershipCalls, ConsentCalls, ProvenanceCalls, AnchorCalls):
    """A connection to the ledger, with an account if it may write. Thread-safe."""

    def __init__(
        self, web3: Web3, *, url: str, contracts: Addresses, key: bytes | None, timeout: float
    ) -> None:
        self._web3 = web3
        self.url = url
        self._key = key
        self._timeout = timeout
        self._sending = threading.Lock()
        self._close: Callable[[], None] = lambda: None
        self.contracts = contracts
        self._by_name = {
            name: web3.eth.contract(raw_address(address), abi=artifact(name).abi)
            for name, address in zip(CONTRACTS, contracts, strict=True)
        }

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        genesis: bytes,
        contracts: Addresses,
        key: bytes | None = None,
        timeout: float = 10.0,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        proxy: str | None = None,
    ) -> Chain:
        """Connect to a ledger node of exactly this network.

        Args:
            url: JSON-RPC address.
            genesis: The genesis hash that the founding file pins, 32 bytes.
            contracts: Where the contracts stand, from the founding file.
            key: Private key of the own account; without it the connection only reads.
            timeout: Seconds for one call, and for a transaction to be in a block.
            token: Sent with each call, if the node asks for one.
            tls: For an HTTPS node: which CA to trust, and the certificate to show.
            proxy: This hospital's forwarder, if nothing else goes out.

        Raises:
            LedgerUnreachable: TW5001.
            LedgerError: TW5021 the node is of another network, TW3505 it lets nobody in like this.
        """
        from web3 import HTTPProvider, Web3  # noqa: PLC0415 - half a second; not for --help

        session = http_session(token, tls, proxy)
        provider = HTTPProvider(
            url,
            request_kwargs={"timeout": timeout},
            session=session,
            exception_retry_configuration=None,
        )
        chain = cls(Web3(provider), url=url, contracts=contracts, key=key, timeout=timeout)
        chain._close = session.close
        if chain.genesis() != genesis:
            chain.close()
            raise LedgerError(
                "the ledger at this address does not have the genesis of the founding file",
                code="TW5021",
                at=url,
                note=f"genesis {genesis.hex()[:16]} is expected",
                help="connect to a node of this network; nothing was sent",
            )
        return chain

    @property
    def account(self) -> str:
        """The own account, ``0x`` text.

        Raises:
            LedgerError: TW5024, this connection only reads.
        """
        if self._key is None:
            raise LedgerError(
                "this connection has no account and cannot write",
                code="TW5024",
                help="connect with the organisation's ledger key",
            )
        return address_of(self._key)

    def close(self) -> None:
        """Close the connections."""
        self._close()

    def genesis(self) -> bytes:
        """The hash of the first block that the node shows."""
        return bytes(self._ask(lambda web3: web3.eth.get_block(0))["hash"])

    def tip(self) -> Tip:
        """The newest block."""
        block = self._ask(lambda web3: web3.eth.get_block("latest"))
        return Tip(
            number=block["number"],
            hash=bytes(block["hash"]),
            state_root=bytes(block["stateRoot"]),
            time=block["timestamp"],
        )

    # Plumbing for the calls of the contracts

    def code_at(self, address: str) -> bytes:
        """The code of the contract there; empty if there is none."""
        return bytes(self._ask(lambda web3: web3.eth.get_code(raw_address(address))))

    def create(self, contract: str, *arguments: Any, nonce: int) -> None:
        """Make a contract by the own account's transaction of this number, from 0."""
        built = artifact(contract)
        factory = self._web3.eth.contract(abi=built.abi, bytecode=built.bytecode)
        data = factory.constructor(*arguments).data_in_transaction
        self._send(contract, {"to": b"", "data": data, "gas": _GAS_TO_DEPLOY, "nonce": nonce})

    def read(self, contract: str, function: str, *arguments: Any) -> Any:
        """The result of a view function at the newest block."""
        bound = self._by_name[contract].functions[function](*arguments)
        return self._ask(lambda _: bound.call(), contract=contract)

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

        Raises:
            ContractRefused: TW5030.
            LedgerUnreachable: TW5001, it may or may not have been applied: repeat the call.
        """
        call = {
            "to": self._by_name[contract].address,
            "data": self._by_name[contract].encode_abi(function, arguments),
            "gas": gas,
        }
        try:
            if rehearse:
                self._rehearse(contract, call)
            return self._send(contract, call)
        except ContractRefused as refused:
            if refused.name not in done:
                raise
            return []

    def logs(self, contract: str, topics: Sequence[bytes | None]) -> list[Log]:
        """All events of a contract with these topics, from the first block on."""
        wanted = {
            "address": self._by_name[contract].address,
            "fromBlock": 0,
            "topics": [None if topic is None else f"0x{topic.hex()}" for topic in topics],
        }
        return [_log(log) for log in self._ask(lambda web3: web3.eth.get_logs(wanted))]

    def _send(self, contract: str, call: dict[str, Any]) -> list[Log]:
        """Sign, send, wait. Dying before it is sent changes nothing; after it, the block comes."""
        from eth_account import Account  # noqa: PLC0415 - heavy

        sender = self.account
        with self._sending:
            transaction = {
                "chainId": self._ask(lambda web3: web3.eth.chain_id),
                # Free on our own chain; elsewhere enough for a few blocks of rising fees.
                "maxFeePerGas": 2 * self._ask(_base_fee),
                "maxPriorityFeePerGas": 0,
                "nonce": self._ask(
                    lambda web3: web3.eth.get_transaction_count(raw_address(sender), "pending")
                ),
                "type": 2,
                "value": 0,
                **call,
            }
            signed = Account.sign_transaction(transaction, self._key)
            receipt = self._deliver(bytes(signed.raw_transaction), bytes(signed.hash))
        if receipt["status"] != 1:
            self._rehearse(contract, call)  # usually names the reason
            raise ContractRefused(contract, "OutOfGas", {"used": receipt["gasUsed"]})
        return [_log(log) for log in receipt["logs"]]

    def _rehearse(self, contract: str, call: dict[str, Any]) -> None:
        """Run the call without a transaction, so that a refusal costs nothing and has a name."""
        rehearsal: Any = {
            **{key: value for key, value in call.items() if key != "nonce" and value},
            "from": raw_address(self.account),
        }
        self._ask(lambda web3: web3.eth.call(rehearsal), contract=contract)

    def _deliver(self, raw: bytes, tx_hash: bytes) -> Any:
        """Send the same signed bytes until they are in a block; a repeat changes nothing."""
        from web3.exceptions import TransactionNotFound  # noqa: PLC0415 - heavy

        deadline = time.monotonic() + self._timeout
        refused: RpcError | None = None
        for attempt in range(_ATTEMPTS):
            try:
                self._ask(lambda web3: web3.eth.send_raw_transaction(raw))
                break
            except RpcError as error:
                refused = error  # also "already known", after an answer that was lost
                break
            except LedgerUnreachable:
                if attempt == _ATTEMPTS - 1:
                    raise
        while True:
            try:
                return self._ask(lambda web3: web3.eth.get_transaction_receipt(tx_hash))
            except TransactionNotFound:
                if refused is not None and "already known" not in str(refused):
                    raise LedgerError(
                        f"the ledger did not take the transaction: {refused}",
                        code="TW5025",
                        at=self.url,
                        help="repeat the command; if it stays, another process uses this account",
                    ) from refused
                if time.monotonic() > deadline:
                    raise unreachable(self.url, "no block came in time") from None
                time.sleep(_POLL_SECONDS)

    def _ask(self, question: Callable[[Web3], Any], *, contract: str = "?") -> Any:
        """One call through web3, with its failures as ours."""
        from requests.exceptions import RequestException  # noqa: PLC0415 - comes with web3
        from web3.exceptions import (  # noqa: PLC0415 - heavy
            BadFunctionCallOutput,
            ContractLogicError,
            TransactionNotFound,
            Web3Exception,
            Web3RPCError,
        )

        try:
            return question(self._web3)
        except TransactionNotFound:  # an answer, though web3 counts it among its errors
            raise
        except RequestException as error:
            if error.response is not None and error.response.status_code in DENIED:
                raise not_let_in(self.url) from error
            raise unreachable(self.url, type(error).__name__) from error
        except BadFunctionCallOutput as error:
            raise foreign(contract, "is missing or has other code", at=self.url) from error
        except ContractLogicError as error:
            data = bytes.fromhex(str(error.data or "").removeprefix("0x"))
            raise refusal(contract, data) from error
        except Web3RPCError as error:
            problem = (error.rpc_response or {}).get("error", {})
            if problem.get("code") == NOT_LET_IN:
                raise not_let_in(self.url) from error
            raise RpcError(int(problem.get("code", 0)), str(problem.get("message"))) from error
        except (Web3Exception, ValueError, TypeError, LookupError, AttributeError) as error:
            raise LedgerError(
                f"the ledger's node gave an answer that cannot be read ({type(error).__name__})",
                code="TW5004",
                at=self.url,
                help="check the address; if it is right, connect to another node",
            ) from error


def _base_fee(web3: Web3) -> int:
    return int(web3.eth.get_block("latest").get("baseFeePerGas", 0))


def _log(log: Any) -> Log:
    return Log(tuple(bytes(topic) for topic in log["topics"]), bytes(log["data"]))
