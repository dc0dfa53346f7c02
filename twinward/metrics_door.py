"""Where Prometheus asks: the loopback with a token, or a socket that only this account may open.

The process is one of its own, so it answers also while the daemon does not; it starts by hand or
from a unit and never by itself.
"""

from __future__ import annotations

import hmac
import secrets
import socketserver
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twinward.console import say
from twinward.errors import UsageError
from twinward.files import read_secret, write_secret

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

TOKEN = "secrets/metrics.token"  # noqa: S105 - the name of a file
_SECONDS = 10


def metrics_options(command: Callable[..., None]) -> Callable[..., None]:
    """Where to answer."""
    path = click.Path(path_type=Path, dir_okay=False)
    command = click.option("--socket", type=path, help="A UNIX socket instead of a port.")(command)
    return click.option(
        "--port", type=click.IntRange(0, 65535), default=9464, show_default=True,
        help="Port on 127.0.0.1; 0 takes any that is free.",
    )(command)  # fmt: skip


def serve(collector: Collector, *, folder: Path, port: int, socket: Path | None) -> None:
    """Answer ``GET /metrics`` until the process is told to end.

    Raises:
        UsageError: TW7412, the port or the socket is taken.
    """
    try:
        server, where = (
            _at_port(folder, port, collector)
            if socket is None
            else (_at_socket(socket, collector), str(socket))
        )
    except OSError as error:
        raise UsageError(
            f"cannot listen ({error.strerror})",
            code="TW7412",
            at=str(socket or port),
            help="choose another port or socket, or stop what listens there",
        ) from error
    say(f"metrics: {where}")
    with server:
        server.serve_forever()


def _at_port(folder: Path, port: int, collector: Collector) -> tuple[socketserver.BaseServer, str]:
    path = folder / TOKEN
    if not path.exists():
        write_secret(path, secrets.token_hex(32).encode() + b"\n")
    token = read_secret(path).strip()
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(collector, token=token))
    server.daemon_threads = True
    return server, f"http://127.0.0.1:{server.server_port}/metrics, bearer token in {path}"


def _at_socket(path: Path, collector: Collector) -> socketserver.BaseServer:
    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

        def server_bind(self) -> None:
            super().server_bind()
            path.chmod(0o600)

        def server_close(self) -> None:
            super().server_close()
            path.unlink(missing_ok=True)

    return Server(str(path), _handler(collector, token=None))


def _handler(collector: Collector, *, token: bytes | None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _SECONDS

        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "").encode()
            if token is not None and not hmac.compare_digest(given, b"Bearer " + token):
                self._answer(401, "text/plain", b"")
            elif self.path != "/metrics":
                self._answer(404, "text/plain", b"")
            else:
                self._answer(200, *_text(collector))

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "local"  # a UNIX socket has no address

        def log_message(self, *_: Any) -> None:
            """Nothing: a scrape every few seconds is no event."""

    return Handler


def _text(collector: Collector) -> tuple[str, bytes]:
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - --help
    from prometheus_client.exposition import CONTENT_TYPE_LATEST  # noqa: PLC0415

    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return CONTENT_TYPE_LATEST, generate_latest(registry)
