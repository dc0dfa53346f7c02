"""JSON-RPC 2.0 over HTTP or HTTPS: clean errors for whatever arrives, bounded everywhere."""

from __future__ import annotations

import itertools
import json
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import Any

from pydantic_core import from_json

from ledger.embedded.access import Access
from ledger.embedded.logs import TooMany
from ledger.embedded.methods import ExecutionFailed, Methods
from ledger.embedded.node import Refused
from ledger.embedded.wire import BadParams, data
from ledger.rpc import NOT_LET_IN, TOO_MANY

_MOST_BYTES = 8 * 2**20
_MOST_CALLS = 1_000
_MOST_CONNECTIONS = 256
_IDLE_SECONDS = 60.0
_BLOCK_SECONDS = 120.0


_CODES: dict[type[Exception], int] = {
    KeyError: -32601,
    BadParams: -32602,
    Refused: -32000,
    TooMany: TOO_MANY,
}
"""JSON-RPC error codes."""


class RpcServer(ThreadingHTTPServer):
    """Serves `methods` at an address; `serve_forever` and `shutdown` as in `socketserver`."""

    daemon_threads = True
    ending = False
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        methods: Methods,
        *,
        access: Access | None = None,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self.methods = methods
        self.access = access or Access()
        self._tls = tls
        self._slots = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        super().__init__(address, _Handler)

    @property
    def url(self) -> str:
        """Where it answers."""
        host, port = self.server_address[:2]
        return f"{'https' if self._tls else 'http'}://{host!s}:{port}"

    def shutdown(self) -> None:
        """Stop serving; what is asked from now on gets no answer, so that it is asked again."""
        self.ending = True
        super().shutdown()

    def get_request(self) -> tuple[Any, Any]:
        """Take a connection; its handshake waits for its own thread, so that none holds others."""
        connection, address = super().get_request()
        if self._tls is not None:
            connection = self._tls().wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Wait for a free slot, so that no flood of connections takes the memory."""
        self._slots.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection and give its slot back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """A client that goes away in the middle is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: RpcServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _IDLE_SECONDS
    wbufsize = -1  # head and body in one segment
    server_version = "twinward"
    sys_version = ""

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if "Origin" in self.headers:
            # A web page in somebody's browser has no business on the loopback.
            self.close_connection = True
            self._answer(HTTPStatus.FORBIDDEN, _error(None, -32600, "not for browsers"))
            return
        if not (length.isascii() and length.isdecimal()):
            self.close_connection = True
            self._answer(HTTPStatus.LENGTH_REQUIRED, _error(None, -32600, "no Content-Length"))
            return
        if int(length) > _MOST_BYTES:
            self.close_connection = True
            message = f"the request is larger than {_MOST_BYTES} bytes"
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _error(None, -32600, message))
            return
        if not self._may(writing=False):
            self.close_connection = True
            refusal = _error(None, NOT_LET_IN, "this node does not know who asks")
            self._answer(HTTPStatus.UNAUTHORIZED, refusal)
            return
        body, may_write = self.rfile.read(int(length)), self._may(writing=True)
        self._answer(HTTPStatus.OK, respond(self.server.methods, body, may_write=may_write))

    def _may(self, *, writing: bool) -> bool:
        connection = self.connection
        shown = connection.getpeercert(True) if isinstance(connection, ssl.SSLSocket) else None
        given = self.headers.get("Authorization")
        return self.server.access.allows(given, writing=writing, certificate=shown)

    def _answer(self, status: HTTPStatus, body: Any) -> None:
        if self.server.ending:  # the database may be closed by now: better none than a wrong one
            self.close_connection = True
            return
        encoded = json.dumps(body, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Requests are not logged: they tell who asked about which subject."""


def respond(methods: Methods, body: bytes, *, may_write: bool = True) -> Any:
    """The answer to a request or to a list of them; never raises.

    Transactions of one list are all queued before any is waited for, so they share a block; a
    reading call after them in the list sees them mined.
    """
    try:
        # Not json.loads: py-evm raises the recursion limit so far that a deeply nested request
        # would overflow the stack of this thread. This parser has a fixed limit of its own.
        request = from_json(body)
    except ValueError:
        return _error(None, -32700, "the request is not JSON")
    if not isinstance(request, list):
        return _finish(_one(methods, request, may_write=may_write))
    if not 0 < len(request) <= _MOST_CALLS:
        return _error(None, -32600, f"a list holds 1 to {_MOST_CALLS} calls")
    answers: list[dict[str, Any]] = []
    for sending, calls in itertools.groupby(request, key=_is_sending):
        if sending:
            with methods.between_blocks():
                queued = [_one(methods, call, may_write=may_write) for call in calls]
            answers.extend(_finish(answer) for answer in queued)
        else:
            answers.extend(_one(methods, call, may_write=may_write) for call in calls)
    return answers


def _is_sending(call: Any) -> bool:
    return isinstance(call, dict) and call.get("method") == "eth_sendRawTransaction"


def _one(methods: Methods, call: Any, *, may_write: bool) -> dict[str, Any]:
    if not isinstance(call, dict) or not isinstance(call.get("method"), str):
        return _error(None, -32600, "not a JSON-RPC call")
    identifier, params = call.get("id"), call.get("params", [])
    if _is_sending(call) and not may_write:
        return _error(identifier, NOT_LET_IN, "this token does not permit to send transactions")
    if not isinstance(params, list):
        return _error(identifier, -32602, "parameters must be a list")
    return _guarded(identifier, lambda: methods.call(call["method"], params))


def _finish(answer: dict[str, Any]) -> dict[str, Any]:
    result = answer.get("result")
    if isinstance(result, Future):
        return _guarded(answer["id"], lambda: data(result.result(timeout=_BLOCK_SECONDS)))
    return answer


def _guarded(identifier: Any, work: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"jsonrpc": "2.0", "id": identifier, "result": work()}
    except ExecutionFailed as error:
        return _error(identifier, 3, str(error), data(error.output))
    except (KeyError, BadParams, Refused, TooMany) as error:
        message = "there is no such method" if isinstance(error, KeyError) else str(error)
        return _error(identifier, _CODES[type(error)], message)
    except Exception as error:  # noqa: BLE001 - one bad call must not end the connection
        return _error(identifier, -32603, f"internal error ({type(error).__name__})")


def _error(identifier: Any, code: int, message: str, extra: str | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if extra is not None:
        error["data"] = extra
    return {"jsonrpc": "2.0", "id": identifier, "error": error}
