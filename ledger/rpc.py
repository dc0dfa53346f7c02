"""A small raw JSON-RPC client for what must be fast or must not trust a library's decoding."""

from __future__ import annotations

from typing import Any

import httpx

from twinward.errors import LedgerError, LedgerUnreachable

TOO_MANY = -32005
"""JSON-RPC error code: the answer would be too large, ask for less."""


class RpcError(LedgerError):
    """The ledger's node answered with an error; `rpc_code` is JSON-RPC's."""

    def __init__(self, rpc_code: int, message: str) -> None:
        super().__init__(
            f"the ledger's node refused the call: {message}",
            code="TW5003",
            help="check that the ledger's node is one of this network and up to date",
        )
        self.rpc_code = rpc_code


class Rpc:
    """One node's JSON-RPC endpoint. Thread-safe."""

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        self.url = url
        # Proxies of the environment are not for the ledger: it is named in the founding file.
        self._client = httpx.Client(timeout=timeout, trust_env=False)

    def call(self, method: str, *params: Any) -> Any:
        """The result of one call.

        Raises:
            LedgerUnreachable: TW5001, no answer; the call may be repeated.
            RpcError: TW5003, the node answered with an error.
        """
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            response = self._client.post(self.url, json=request)
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise unreachable(self.url, error) from error
        if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
            raise unreachable(self.url, "it does not speak JSON-RPC")
        problem = answer.get("error")
        if isinstance(problem, dict):
            raise RpcError(int(problem.get("code", 0)), str(problem.get("message", "")))
        return answer.get("result")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def unreachable(url: str, why: object) -> LedgerUnreachable:
    """The one error for a ledger that does not answer."""
    return LedgerUnreachable(
        f"the ledger does not answer ({why})",
        code="TW5001",
        at=url,
        help="start the ledger's node, or check the address; the same command may be repeated",
    )
