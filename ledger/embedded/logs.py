"""`eth_getLogs`: filters over the rows of `logs`, bounded in what one answer may hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ledger.embedded.engine import Engine
from ledger.embedded.wire import BadParams, log_json, read_data

MOST_LOGS = 20_000
"""Most logs in one answer; a client that gets `TooMany` asks for fewer blocks."""


class TooMany(Exception):
    """The answer would be too large."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Blocks from and to (both included), any of these addresses, per position any of topics."""

    first: int
    last: int
    addresses: tuple[bytes, ...]
    topics: tuple[tuple[bytes, ...], ...]


def read_filter(engine: Engine, wanted: Any, header: Callable[..., Any]) -> Filter:
    """Parse a filter object; `header` resolves its block parameters."""
    if not isinstance(wanted, dict):
        raise BadParams("the filter must be an object")
    if "blockHash" in wanted:
        first = last = header(engine, {"blockHash": wanted["blockHash"]}).block_number
    else:
        first = _number(engine, wanted.get("fromBlock"), header)
        last = min(_number(engine, wanted.get("toBlock"), header), engine.head.block_number)
    topics = wanted.get("topics") or []
    if not isinstance(topics, list) or len(topics) > 4:
        raise BadParams("`topics` must be a list of at most 4")
    return Filter(
        first,
        last,
        _any_of(wanted.get("address"), name="address", size=20),
        tuple(_any_of(topic, name="topic", size=32) for topic in topics),
    )


def _number(engine: Engine, block: Any, header: Callable[..., Any]) -> int:
    found = header(engine, "latest" if block is None else block, missing_ok=True)
    # A block that is not there yet: everything up to it is an empty range, not an error.
    return engine.head.block_number + 1 if found is None else int(found.block_number)


def _any_of(value: Any, *, name: str, size: int) -> tuple[bytes, ...]:
    values = value if isinstance(value, list) else [] if value is None else [value]
    if len(values) > 1_000:
        raise BadParams(f"too many values for `{name}`")
    return tuple(read_data(one, name=name, size=size) for one in values)


def select_logs(engine: Engine, wanted: Filter) -> list[dict[str, Any]]:
    """The logs in order of the chain.

    Raises:
        TooMany: More than `MOST_LOGS`.
    """
    clauses = ["logs.block between ? and ?"]
    parameters: list[Any] = [wanted.first, wanted.last]
    columns = ["address", *(f"topic{n}" for n in range(len(wanted.topics)))]
    for column, values in zip(columns, (wanted.addresses, *wanted.topics), strict=True):
        if values:
            clauses.append(f"{column} in ({', '.join('?' * len(values))})")
            parameters.extend(values)
    rows = engine.store.rows(
        "select blocks.hash, logs.* from logs join blocks on blocks.number = logs.block"  # noqa: S608 - our own column names
        f" where {' and '.join(clauses)} order by logs.block, logs.position limit {MOST_LOGS + 1}",
        parameters,
    )
    if len(rows) > MOST_LOGS:
        raise TooMany(f"more than {MOST_LOGS} logs; ask for fewer blocks")
    return [log_json(row[1:], row[0]) for row in rows]
