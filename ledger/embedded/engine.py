"""Blocks: executes transactions by py-evm's `cancun` rules and makes each block durable."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import rlp
from eth.exceptions import Revert, VMError
from eth.vm.chain_context import ChainContext
from eth.vm.spoof import SpoofTransaction
from eth_keys import KeyAPI
from eth_keys.backends import CoinCurveECCBackend
from eth_utils import ValidationError

from ledger.embedded.blocks import (
    ExecutionDiffers,
    first_difference,
    nested_deeply,
    read_block,
    rows_of,
)
from ledger.embedded.genesis import Genesis
from ledger.embedded.rules import chain_class
from ledger.embedded.store import Store
from twinward.errors import LedgerError

GAS_CAP = 30_000_000
"""Most gas that one transaction or call may ask for: a few seconds of py-evm."""


_TRANSACTION_BYTES = 128 * 2**10


@dataclass(frozen=True, slots=True)
class Call:
    """A message to execute without a transaction."""

    sender: bytes
    to: bytes
    data: bytes
    value: int
    gas: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What executing a message gave.

    Attributes:
        output: Return data, or the revert data when `error` is set.
        gas_used: Including the intrinsic gas, before refunds.
        error: Why it failed; None if it did not.
        reverted: Whether the failure was the contract's own decision.
    """

    output: bytes
    gas_used: int
    error: str | None
    reverted: bool


class Engine:
    """The chain over its store. Not safe for several threads: `Node` holds a lock around it."""

    def __init__(self, store: Store, genesis: Genesis | None = None) -> None:
        if not isinstance(KeyAPI().backend, CoinCurveECCBackend):
            raise LedgerError(
                "coincurve is missing; signatures would be checked fifty times too slowly",
                code="TW5018",
                help="install the ledger's packages: `pip install twinward[ledger]`",
            )
        self.store = store
        self._open(genesis)

    def _open(self, genesis: Genesis | None) -> None:
        row = self.store.row("select value from about where name = 'genesis'")
        if row is None:
            if genesis is None:
                raise LedgerError(
                    "there is no chain in this folder yet",
                    code="TW5015",
                    help="start the node with --genesis FILE the first time",
                )
            self._create(genesis)
        stored = genesis if row is None else Genesis.from_json(row[0])
        if stored is None or (genesis is not None and genesis != stored):
            raise LedgerError(
                "this folder holds a chain with another genesis",
                code="TW5016",
                help="use the genesis file that the chain was started with, or another folder",
            )
        self.genesis = stored
        self.chain_id = stored.chain_id
        self.chain = chain_class(stored.chain_id)(self.store)
        self.vm_class = self.chain.get_vm_class_for_block_number(0)
        self.head = self.chain.get_canonical_head()

    def _create(self, genesis: Genesis) -> None:
        with self.store.block():
            chain = chain_class(genesis.chain_id).from_genesis(self.store, *genesis.parameters())
            header = chain.get_canonical_block_header_by_number(0)
            raw = rlp.encode(header)
            self.store.insert("blocks", [(0, header.hash, raw, len(raw))])
            self.store.insert("about", [("genesis", genesis.to_json())])

    def decode(self, raw: bytes) -> Any:
        """Parse a signed transaction.

        Raises:
            ValueError: It is none, or of a kind that this chain does not take.
        """
        if len(raw) > _TRANSACTION_BYTES:
            raise ValueError(f"larger than {_TRANSACTION_BYTES} bytes")
        if nested_deeply(raw):
            raise ValueError("not a valid signed transaction (lists are nested too deeply)")
        try:
            transaction = self.vm_class.get_transaction_builder().decode(raw)
            transaction.validate()
            transaction.check_signature_validity()
            _ = transaction.sender
        except Exception as error:
            # py-evm and rlp raise many kinds on garbage; all mean the same here.
            raise ValueError(f"not a valid signed transaction ({error})") from error
        if getattr(transaction, "type_id", 0) == 3:
            raise ValueError("blob transactions are not taken here")
        if transaction.chain_id != self.chain_id:
            raise ValueError(f"signed for chain {transaction.chain_id}, this is {self.chain_id}")
        if transaction.gas > GAS_CAP:
            raise ValueError(f"asks for more than {GAS_CAP} gas")
        return transaction

    # Reading

    def header(self, number: int) -> Any | None:
        """The header of a block by its number, or None."""
        if number == self.head.block_number:
            return self.head
        if not 0 <= number < self.head.block_number:
            return None
        return self.chain.get_canonical_block_header_by_number(number)

    def state(self, header: Any) -> Any:
        """The state after a block; changes to it are never persisted."""
        return self.vm_class.build_state(
            self.store,
            header,
            ChainContext(self.chain_id),
            itertools.chain(
                (header.hash,),
                self.vm_class.get_prev_hashes(header.parent_hash, self.chain.chaindb),
            ),
        )

    def execute(self, call: Call, header: Any) -> Outcome:
        """Run a message on the state after a block, free of charge and without trace."""
        state = self.state(header)
        transaction = SpoofTransaction(
            self.vm_class.create_unsigned_transaction(
                nonce=state.get_nonce(call.sender),
                gas_price=0,
                gas=min(call.gas, GAS_CAP),
                to=call.to,
                value=call.value,
                data=call.data,
            ),
            from_=call.sender,
            max_fee_per_gas=0,
            max_priority_fee_per_gas=0,
        )
        try:
            computation = state.apply_transaction(transaction)
        except (ValidationError, VMError) as error:
            return Outcome(b"", 0, str(error), reverted=False)
        failure = computation.error if computation.is_error else None
        return Outcome(
            output=bytes(computation.output),
            gas_used=transaction.gas - computation.get_gas_remaining(),
            error=None if failure is None else type(failure).__name__,
            reverted=isinstance(failure, Revert),
        )

    # Writing

    def mine(
        self, transactions: Sequence[Any], *, now: float
    ) -> tuple[Any | None, list[str | None]]:
        """Put transactions into one durable block, leaving out those that are not valid.

        On return the block is on disk with its rows; on any exception nothing of it is.

        Returns:
            The new header (None if nothing was valid), and per transaction why it was left out.
        """
        with self.store.block():
            timestamp = max(int(now), self.head.timestamp + 1)
            block, receipts, problems = self._execute(transactions, timestamp)
            if block is None:
                return None, problems
            self._persist(block, receipts)
        self.head = block.header
        return self.head, problems

    def follow(self, raw: bytes) -> Any:
        """Execute the next block of another node; make it durable only if all comes out the same.

        Nothing in the block is believed but the order and the time of its transactions: each
        signature is checked, and every other field of the header is computed here and compared.

        Args:
            raw: The block in RLP.

        Returns:
            The new header.

        Raises:
            ValueError: It is not a block, or not the next one: nothing follows about execution.
            ExecutionDiffers: It is a block on top of ours whose author executed otherwise.
        """
        claimed, transactions = read_block(raw, decode=self.decode, header_class=type(self.head))
        if claimed.block_number != self.head.block_number + 1:
            raise ValueError(f"block {claimed.block_number} does not come next")
        if claimed.parent_hash != self.head.hash:
            raise ExecutionDiffers(claimed, "parent_hash", "it stands on another block than ours")
        if claimed.timestamp <= self.head.timestamp:
            raise ExecutionDiffers(claimed, "timestamp", "it is not later than the one before")
        with self.store.block():
            block, receipts, problems = self._execute(transactions, claimed.timestamp)
            for place, problem in enumerate(problems):
                if problem is not None:
                    raise ExecutionDiffers(claimed, f"transaction {place}", problem)
            if block is None:
                raise ExecutionDiffers(claimed, "transactions", "it holds none")
            if block.hash != claimed.hash:
                field, ours = first_difference(claimed, block.header)
                raise ExecutionDiffers(claimed, field, f"we computed {ours}")
            self._persist(block, receipts)
        self.head = block.header
        return self.head

    def raw_block(self, number: int) -> bytes | None:
        """A block in RLP, as `follow` takes it; None if there is no such block."""
        header = self.header(number)
        return None if header is None else bytes(rlp.encode(self.chain.get_block_by_header(header)))

    def _execute(
        self, transactions: Sequence[Any], timestamp: int
    ) -> tuple[Any | None, list[Any], list[str | None]]:
        """Run transactions on top of the head: block (None if empty), receipts, what was wrong."""
        header = self.chain.create_header_from_parent(
            self.head, timestamp=timestamp, gas_limit=self.head.gas_limit
        )
        vm = self.chain.get_vm(header)
        accepted: list[Any] = []
        receipts: list[Any] = []
        problems: list[str | None] = []
        for transaction in transactions:
            try:
                receipt, _ = vm.apply_transaction(header, transaction)
            except ValidationError as error:
                problems.append(str(error))
                continue
            header = vm.add_receipt_to_header(header, receipt)
            accepted.append(transaction)
            receipts.append(receipt)
            problems.append(None)
        if not accepted:
            return None, [], problems
        block = vm.set_block_transactions_and_withdrawals(
            vm.get_block(), header, tuple(accepted), tuple(receipts)
        )
        return vm.mine_block(block).block, receipts, problems

    def _persist(self, block: Any, receipts: Sequence[Any]) -> None:
        self.chain.persist_block(block)
        self.store.insert_block(rows_of(block, receipts))
