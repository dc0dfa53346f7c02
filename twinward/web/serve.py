"""Serving a site: on loopback, or by TLS with a certificate of the network's own CA."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading

import uvicorn
from starlette.types import ASGIApp

from twinward.errors import UsageError
from twinward.files import read_secret
from twinward.rpc.tls import TlsFiles


def origin_of(host: str, port: int, *, tls: bool) -> str:
    """What browsers call the site.

    Raises:
        UsageError: TW7022, it would be open to other machines without TLS.
    """
    if not tls and not is_loopback(host):
        raise UsageError(
            "a site that other machines can reach needs TLS",
            code="TW7022",
            help="leave `--host 127.0.0.1`, or do not use `--plain`",
        )
    name = f"[{host}]" if ":" in host else host
    usual = 443 if tls else 80
    return f"{'https' if tls else 'http'}://{name}" + ("" if port == usual else f":{port}")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Take the port, or say that someone else has it.

    Raises:
        UsageError: TW7021.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)  # from here on nobody is refused, though pages come a moment later
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen here ({error.strerror})",
            code="TW7021",
            at=f"{host}:{port}",
            help="choose another `--port`, or stop what uses it",
        ) from error
    return listener


def serve(app: ASGIApp, listener: socket.socket, *, tls: TlsFiles | None) -> None:
    """Serve until SIGTERM or Ctrl-C. TLS 1.2 or later. No access log: addresses are not kept.

    Raises:
        UsageError: TW1014, no TLS key.
        IdentityError: TW2005, others can read it.
    """
    _server(app, tls).run(sockets=[listener])


class Background:
    """A site that is served by a thread, for a process that does something else as well."""

    def __init__(self, app: ASGIApp, listener: socket.socket, *, tls: TlsFiles | None) -> None:
        """Ready to serve; see `serve` for what is refused."""
        self._server = _server(app, tls)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="site", daemon=True
        )

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more requests, finish those that run, and return."""
        self._server.should_exit = True
        self._thread.join(timeout=10)


def _server(app: ASGIApp, tls: TlsFiles | None) -> uvicorn.Server:
    if tls is not None:
        read_secret(tls.key)  # refuses a key that others can read
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=15,
        limit_concurrency=200,
        h11_max_incomplete_event_size=16 * 1024,
        ssl_certfile=str(tls.certificate) if tls else None,
        ssl_keyfile=str(tls.key) if tls else None,
    )
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return uvicorn.Server(config)
