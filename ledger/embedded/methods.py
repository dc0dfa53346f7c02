"""The JSON-RPC methods: what web3.py needs, `eth_getProof` (EIP-1186) and raw headers."""

# ruff: noqa: N802, D102, FBT002 - the names and what they do are the Ethereum JSON-RPC specification's
from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any

import rlp
from eth_hash.auto import keccak
from trie import HexaryTrie
from trie.constants import BLANK_NODE_HASH

from ledger.embedded.engine import GAS_CAP, Call, Engine, Outcome
from ledger.embedded.logs import read_filter, select_logs
from ledger.embedded.node import Node
from ledger.embedded.wire import (
    BadParams,
    block_json,
    data,
    quantity,
    read_data,
    read_quantity,
    receipt_json,
    transaction_json,
)
from twinward import __version__


class ExecutionFailed(Exception):
    """A call reverted or ran out of gas; carries what the contract returned."""

    def __init__(self, outcome: Outcome) -> None:
        reason = "execution reverted" if outcome.reverted else f"execution failed: {outcome.error}"
        super().__init__(reason)
        self.output = outcome.output


class Methods:
    """Answers to JSON-RPC calls. Each public name is the method's with `_` after the family."""

    def __init__(
        self, node: Node, *, following: Callable[[], dict[str, Any] | None] = lambda: None
    ) -> None:
        self._node = node
        self._following = following
        self._table: dict[str, Callable[..., Any]] = {
            name: getattr(self, name)
            for name in dir(type(self))
            if name.partition("_")[0] in {"eth", "net", "web3", "debug", "twinward"}
        }

    def call(self, method: str, params: Sequence[Any]) -> Any:
        """Answer one call; the answer of a transaction is a future.

        Raises:
            KeyError: There is no such method.
            BadParams: The parameters do not fit.
        """
        function = self._table[method]
        limits = function.__code__.co_argcount - 1
        required = limits - len(function.__defaults__ or ())
        if not required <= len(params) <= limits:
            raise BadParams(f"{method} takes {required} to {limits} parameters")
        return function(*params)

    def between_blocks(self) -> AbstractContextManager[Engine]:
        """While this is held no block is made: transactions queued inside share the next one."""
        return self._node.reading()

    # About the node

    def web3_clientVersion(self) -> str:
        return f"twinward-embedded/{__version__}"

    def twinward_following(self) -> dict[str, Any] | None:
        """How this node stands to the one it follows; null if it makes its own blocks."""
        return self._following()

    def net_version(self) -> str:
        with self._node.reading() as engine:
            return str(engine.chain_id)

    def net_listening(self) -> bool:
        return True

    def eth_chainId(self) -> str:
        with self._node.reading() as engine:
            return quantity(engine.chain_id)

    def eth_syncing(self) -> bool:
        return False

    def eth_accounts(self) -> list[str]:
        return []

    def eth_gasPrice(self) -> str:
        with self._node.reading() as engine:
            return quantity(engine.head.base_fee_per_gas)

    def eth_maxPriorityFeePerGas(self) -> str:
        return "0x0"

    def eth_feeHistory(self, count: Any, newest: Any, percentiles: Any = None) -> dict[str, Any]:
        number = count if isinstance(count, int) else read_quantity(count, name="blockCount")
        with self._node.reading() as engine:
            last = self._header(engine, newest).block_number
            first = max(0, last - min(number, 1024) + 1)
            headers = [engine.header(n) for n in range(first, last + 1)]
            fees = [quantity(header.base_fee_per_gas) for header in headers if header]
            blocks = len(fees)
        answer: dict[str, Any] = {
            "oldestBlock": quantity(first),
            "baseFeePerGas": [*fees, fees[-1] if fees else "0x0"],
            "gasUsedRatio": [0.0] * blocks,
        }
        if percentiles:
            answer["reward"] = [["0x0"] * len(percentiles)] * blocks
        return answer

    # Blocks and transactions

    def eth_blockNumber(self) -> str:
        with self._node.reading() as engine:
            return quantity(engine.head.block_number)

    def eth_getBlockByNumber(self, block: Any, full: Any = False) -> dict[str, Any] | None:
        with self._node.reading() as engine:
            header = self._header(engine, block, missing_ok=True)
            if header is None:
                return None
            return self._block(engine, "number", header.block_number, full=full is True)

    def eth_getBlockByHash(self, block: Any, full: Any = False) -> dict[str, Any] | None:
        wanted = read_data(block, name="block hash", size=32)
        with self._node.reading() as engine:
            return self._block(engine, "hash", wanted, full=full is True)

    @staticmethod
    def _block(engine: Engine, column: str, value: Any, *, full: bool) -> dict[str, Any] | None:
        row = engine.store.row(
            f"select header, size from blocks where {column} = ?",  # noqa: S608 - our own two names
            (value,),
        )
        return None if row is None else block_json(engine, row[0], row[1], full=full)

    def debug_getRawHeader(self, block: Any) -> str:
        with self._node.reading() as engine:
            return data(rlp.encode(self._header(engine, block)))

    def debug_getRawBlock(self, block: Any) -> str:
        with self._node.reading() as engine:
            raw = engine.raw_block(self._header(engine, block).block_number)
            return data(raw or b"")

    def eth_getTransactionByHash(self, tx: Any) -> dict[str, Any] | None:
        return self._transaction(tx, transaction_json)

    def eth_getTransactionReceipt(self, tx: Any) -> dict[str, Any] | None:
        return self._transaction(tx, receipt_json)

    def _transaction(self, tx: Any, show: Callable[..., dict[str, Any]]) -> dict[str, Any] | None:
        wanted = read_data(tx, name="transaction hash", size=32)
        with self._node.reading() as engine:
            row = engine.store.row("select * from transactions where hash = ?", (wanted,))
            header = None if row is None else engine.header(row[1])
            return None if header is None else show(engine, row, header.hash)

    def eth_sendRawTransaction(self, raw: Any) -> Future[bytes]:
        return self._node.submit(read_data(raw, name="transaction"))

    def eth_getLogs(self, wanted: Any) -> list[dict[str, Any]]:
        with self._node.reading() as engine:
            return select_logs(engine, read_filter(engine, wanted, self._header))

    # State

    def eth_getBalance(self, address: Any, block: Any = "latest") -> str:
        account = read_data(address, name="address", size=20)
        with self._node.reading() as engine:
            return quantity(engine.state(self._header(engine, block)).get_balance(account))

    def eth_getTransactionCount(self, address: Any, block: Any = "latest") -> str:
        account = read_data(address, name="address", size=20)
        if block == "pending":
            return quantity(self._node.next_nonce(account))
        with self._node.reading() as engine:
            return quantity(engine.state(self._header(engine, block)).get_nonce(account))

    def eth_getCode(self, address: Any, block: Any = "latest") -> str:
        account = read_data(address, name="address", size=20)
        with self._node.reading() as engine:
            return data(engine.state(self._header(engine, block)).get_code(account))

    def eth_getStorageAt(self, address: Any, slot: Any, block: Any = "latest") -> str:
        account = read_data(address, name="address", size=20)
        position = read_quantity(slot, name="slot")
        with self._node.reading() as engine:
            value = engine.state(self._header(engine, block)).get_storage(account, position)
            return data(value.to_bytes(32, "big"))

    def eth_getProof(self, address: Any, slots: Any, block: Any = "latest") -> dict[str, Any]:
        account = read_data(address, name="address", size=20)
        if not isinstance(slots, list) or len(slots) > 64:
            raise BadParams("`storage keys` must be a list of at most 64")
        positions = [read_quantity(slot, name="storage key") for slot in slots]
        with self._node.reading() as engine:
            header = self._header(engine, block)
            state = engine.state(header)
            world = HexaryTrie(engine.store, header.state_root)
            nodes = world.get_proof(keccak(account))
            found = world.get(keccak(account))
            fields = (
                rlp.decode(found) if found else [b"", b"", HexaryTrie({}).root_hash, keccak(b"")]
            )
            storage = HexaryTrie(engine.store, fields[2])
            return {
                "accountProof": [data(rlp.encode(node)) for node in nodes],
                "address": data(account),
                "balance": quantity(int.from_bytes(fields[1], "big")),
                "codeHash": data(fields[3]),
                "nonce": quantity(int.from_bytes(fields[0], "big")),
                "storageHash": data(fields[2]),
                "storageProof": [
                    {
                        "key": quantity(position),
                        "proof": _prove(storage, keccak(position.to_bytes(32, "big"))),
                        "value": quantity(state.get_storage(account, position)),
                    }
                    for position in positions
                ],
            }

    # Execution

    def eth_call(self, call: Any, block: Any = "latest") -> str:
        with self._node.reading() as engine:
            outcome = engine.execute(_read_call(call), self._header(engine, block))
        if outcome.error is not None:
            raise ExecutionFailed(outcome)
        return data(outcome.output)

    def eth_estimateGas(self, call: Any, block: Any = "latest") -> str:
        wanted = _read_call(call)
        with self._node.reading() as engine:
            header = self._header(engine, block)
            most = engine.execute(wanted, header)
            if most.error is not None:
                raise ExecutionFailed(most)
            # Used gas is a lower bound: refunds come last and calls keep back 1/64.
            low, high = most.gas_used - 1, min(wanted.gas, GAS_CAP)
            guess = most.gas_used
            while low + 1 < high and high - low > low // 100:
                less = Call(wanted.sender, wanted.to, wanted.data, wanted.value, guess)
                if engine.execute(less, header).error is None:
                    high = guess
                else:
                    low = guess
                guess = min((low + high) // 2, low + low // 50 + 1)
        return quantity(high)

    @staticmethod
    def _header(engine: Engine, block: Any, *, missing_ok: bool = False) -> Any:
        """The header that a block parameter names: a tag, a number, or EIP-1898's object."""
        number: int | None
        if block in ("latest", "pending", "safe", "finalized"):
            return engine.head
        if block == "earliest":
            number = 0
        elif isinstance(block, dict) and "blockHash" in block:
            wanted = read_data(block["blockHash"], name="blockHash", size=32)
            row = engine.store.row("select number from blocks where hash = ?", (wanted,))
            number = None if row is None else row[0]
        elif isinstance(block, dict):
            number = read_quantity(block.get("blockNumber"), name="blockNumber")
        else:
            number = read_quantity(block, name="block")
        header = None if number is None else engine.header(number)
        if header is None and not missing_ok:
            raise BadParams("there is no such block")
        return header


def _prove(trie: HexaryTrie, key: bytes) -> list[str]:
    """The nodes from the root to the key, or to where it would be (EIP-1186).

    Nodes under 32 bytes stand inside their parents and are not repeated.
    """
    if trie.root_hash == BLANK_NODE_HASH:
        return []
    root, *others = (rlp.encode(node) for node in trie.get_proof(key))
    return [data(root), *(data(node) for node in others if len(node) >= 32)]


def _read_call(call: Any) -> Call:
    if not isinstance(call, dict):
        raise BadParams("the call must be an object")
    payload = call.get("input", call.get("data")) or "0x"
    to = call.get("to")
    return Call(
        sender=read_data(call.get("from") or f"0x{'00' * 20}", name="from", size=20),
        to=b"" if to is None else read_data(to, name="to", size=20),
        data=read_data(payload, name="data"),
        value=read_quantity(call.get("value") or "0x0", name="value"),
        gas=read_quantity(call.get("gas") or quantity(GAS_CAP), name="gas", bits=64),
    )
