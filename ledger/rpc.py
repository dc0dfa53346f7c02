"""A small raw JSON-RPC client for what must be fast or must not trust a library's decoding."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any

import httpx

from twinward.errors import LedgerError, LedgerUnreachable

TOO_MANY = -32005
"""JSON-RPC error code: the answer would be too large, ask for less."""

NOT_LET_IN = -32001
"""JSON-RPC error code of our own node: neither a member's certificate nor a token that permits."""

DENIED = (401, 403)
"""HTTP: the same, of whatever node."""


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

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 10.0,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        """Nothing is sent yet.

        Args:
            url: Address of the node.
            timeout: Seconds for one request.
            token: Sent with each request, if the node asks for one.
            tls: For an HTTPS node: which CA to trust, and the certificate to show.
            proxy: This hospital's forwarder, if nothing else goes out.
        """
        self.url = url
        # Proxies of the environment are not for the ledger: it is named in the founding file.
        self._client = httpx.Client(
            timeout=timeout,
            trust_env=False,
            proxy=proxy,
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
            verify=True if tls is None else tls,
        )

    def call(self, method: str, *params: Any) -> Any:
        """The result of one call.

        Raises:
            LedgerUnreachable: TW5001, no answer; the call may be repeated.
            LedgerError: TW3505, it does not let this organisation in.
            RpcError: TW5003, the node answered with an error.
        """
        return self._result(self._post(_request(1, method, params)))

    def batch(self, method: str, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """The results of many calls of one method in one request, in the order of ``calls``.

        Raises:
            LedgerUnreachable: TW5001, no answer; the calls may be repeated.
            LedgerError: TW3505, it does not let this organisation in.
            RpcError: TW5003, the node answered one of them with an error.
        """
        if not calls:
            return []
        answers = self._post([_request(n, method, params) for n, params in enumerate(calls)])
        if not isinstance(answers, list) or not all(isinstance(one, dict) for one in answers):
            raise unreachable(self.url, "it does not answer batches")
        by_id = {one.get("id"): one for one in answers}
        return [self._result(by_id.get(n)) for n in range(len(calls))]

    def _post(self, body: Any) -> Any:
        try:
            answer = self._client.post(self.url, json=body)
            if answer.status_code in DENIED:
                raise not_let_in(self.url)
            return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise unreachable(self.url, error) from error

    def _result(self, answer: Any) -> Any:
        if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
            raise unreachable(self.url, "it does not speak JSON-RPC")
        problem = answer.get("error")
        if isinstance(problem, dict):
            if problem.get("code") == NOT_LET_IN:
                raise not_let_in(self.url)
            raise RpcError(int(problem.get("code", 0)), str(problem.get("message", "")))
        return answer.get("result")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _request(number: int, method: str, params: Sequence[Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}


def unreachable(url: str, why: object) -> LedgerUnreachable:
    """The one error for a ledger that does not answer."""
    return LedgerUnreachable(
        f"the ledger does not answer ({why})",
        code="TW5001",
        at=url,
        help="start the ledger's node, or check the address; the same command may be repeated",
    )


def not_let_in(url: str) -> LedgerError:
    """The one error for a ledger that answers, but not to this organisation."""
    return LedgerError(
        "the ledger's node does not let this organisation in",
        code="TW3505",
        at=url,
        help="a member shows the certificate in its folder; anyone else needs a token of the"
        " operator in secrets/ledger.token (600)",
    )
