"""Values in Ethereum's JSON spelling: quantities, byte strings, blocks, transactions, logs."""

from __future__ import annotations

from typing import Any

import rlp

from ledger.embedded.engine import Engine


class BadParams(Exception):
    """A parameter is missing or malformed; the text says which."""


def quantity(value: int) -> str:
    """A number: ``0x`` and hex without leading zeros."""
    return hex(value)


def data(value: bytes) -> str:
    """Bytes: ``0x`` and two digits each."""
    return f"0x{value.hex()}"


def read_quantity(value: Any, *, name: str = "number", bits: int = 256) -> int:
    """Parse a number."""
    if not isinstance(value, str) or not value.startswith("0x") or len(value) > 66:
        raise BadParams(f"`{name}` must be a hex number such as 0x1f")
    try:
        number = int(value, 16)
    except ValueError as error:
        raise BadParams(f"`{name}` must be a hex number such as 0x1f") from error
    if not 0 <= number < 2**bits:
        raise BadParams(f"`{name}` is out of range")
    return number


def read_data(value: Any, *, name: str, size: int | None = None) -> bytes:
    """Parse bytes, of an exact size if one is given."""
    wanted = "hex bytes" if size is None else f"{size} hex bytes"
    if not isinstance(value, str) or not value.startswith("0x"):
        raise BadParams(f"`{name}` must be {wanted} after 0x")
    try:
        found = bytes.fromhex(value[2:])
    except ValueError as error:
        raise BadParams(f"`{name}` must be {wanted} after 0x") from error
    if size is not None and len(found) != size:
        raise BadParams(f"`{name}` must be {wanted} after 0x")
    return found


def log_json(row: tuple[Any, ...], block_hash: bytes) -> dict[str, Any]:
    """One row of `logs`."""
    block, position, tx, tx_position, address, *topics, payload = row
    return {
        "address": data(address),
        "blockHash": data(block_hash),
        "blockNumber": quantity(block),
        "data": data(payload),
        "logIndex": quantity(position),
        "removed": False,
        "topics": [data(topic) for topic in topics if topic is not None],
        "transactionHash": data(tx),
        "transactionIndex": quantity(tx_position),
    }


def transaction_json(engine: Engine, row: tuple[Any, ...], block_hash: bytes) -> dict[str, Any]:
    """One row of `transactions`, as `eth_getTransactionByHash` shows it."""
    tx_hash, block, position, sender, raw = row[:5]
    transaction = engine.vm_class.get_transaction_builder().decode(raw)
    kind = getattr(transaction, "type_id", None) or 0
    shown: dict[str, Any] = {
        "blockHash": data(block_hash),
        "blockNumber": quantity(block),
        "chainId": quantity(engine.chain_id),
        "from": data(sender),
        "gas": quantity(transaction.gas),
        "hash": data(tx_hash),
        "input": data(transaction.data),
        "nonce": quantity(transaction.nonce),
        "r": quantity(transaction.r),
        "s": quantity(transaction.s),
        "to": data(transaction.to) if transaction.to else None,
        "transactionIndex": quantity(position),
        "type": quantity(kind),
        "v": quantity(transaction.y_parity if kind else transaction.v),
        "value": quantity(transaction.value),
    }
    if kind == 2:
        shown["maxFeePerGas"] = quantity(transaction.max_fee_per_gas)
        shown["maxPriorityFeePerGas"] = quantity(transaction.max_priority_fee_per_gas)
        shown["gasPrice"] = quantity(transaction.max_priority_fee_per_gas)
    else:
        shown["gasPrice"] = quantity(transaction.gas_price)
    if kind:
        shown["yParity"] = shown["v"]
        shown["accessList"] = [
            {"address": data(address), "storageKeys": [data(k.to_bytes(32, "big")) for k in keys]}
            for address, keys in transaction.access_list
        ]
    return shown


def receipt_json(engine: Engine, row: tuple[Any, ...], block_hash: bytes) -> dict[str, Any]:
    """One row of `transactions` with its logs, as `eth_getTransactionReceipt` shows it."""
    tx_hash, block, position, sender, raw, status, gas_used, cumulative, contract, bloom = row
    transaction = engine.vm_class.get_transaction_builder().decode(raw)
    logs = engine.store.rows(
        "select * from logs where block = ? and tx_position = ? order by position",
        (block, position),
    )
    return {
        "blockHash": data(block_hash),
        "blockNumber": quantity(block),
        "contractAddress": None if contract is None else data(contract),
        "cumulativeGasUsed": quantity(cumulative),
        "effectiveGasPrice": quantity(getattr(transaction, "max_priority_fee_per_gas", 0)),
        "from": data(sender),
        "gasUsed": quantity(gas_used),
        "logs": [log_json(log, block_hash) for log in logs],
        "logsBloom": data(bloom),
        "status": quantity(status),
        "to": data(transaction.to) if transaction.to else None,
        "transactionHash": data(tx_hash),
        "transactionIndex": quantity(position),
        "type": quantity(getattr(transaction, "type_id", None) or 0),
    }


def block_json(engine: Engine, raw_header: bytes, size: int, *, full: bool) -> dict[str, Any]:
    """A block by its stored header."""
    header = rlp.decode(raw_header, sedes=type(engine.head))
    rows = engine.store.rows(
        "select * from transactions where block = ? order by position", (header.block_number,)
    )
    return {
        "baseFeePerGas": quantity(header.base_fee_per_gas),
        "blobGasUsed": quantity(header.blob_gas_used),
        "difficulty": quantity(header.difficulty),
        "excessBlobGas": quantity(header.excess_blob_gas),
        "extraData": data(header.extra_data),
        "gasLimit": quantity(header.gas_limit),
        "gasUsed": quantity(header.gas_used),
        "hash": data(header.hash),
        "logsBloom": data(header.bloom.to_bytes(256, "big")),
        "miner": data(header.coinbase),
        "mixHash": data(header.mix_hash),
        "nonce": data(header.nonce),
        "number": quantity(header.block_number),
        "parentBeaconBlockRoot": data(header.parent_beacon_block_root),
        "parentHash": data(header.parent_hash),
        "receiptsRoot": data(header.receipt_root),
        "sha3Uncles": data(header.uncles_hash),
        "size": quantity(size),
        "stateRoot": data(header.state_root),
        "timestamp": quantity(header.timestamp),
        "totalDifficulty": "0x0",
        "transactions": [
            transaction_json(engine, row, header.hash) if full else data(row[0]) for row in rows
        ],
        "transactionsRoot": data(header.transaction_root),
        "uncles": [],
        "withdrawals": [],
        "withdrawalsRoot": data(header.withdrawals_root),
    }
