"""Says the front door who is served: asked by nginx before every call to Flower or to the ledger.

No list is kept at the door and nothing there has to be reloaded: a hospital that is put out is out
with the next question. When this does not answer nobody gets in. Only the holder of the door's key
may ask. (Our own gRPC calls the coordinator decides itself, and says why.)
nginx: https://nginx.org/en/docs/http/ngx_http_auth_request_module.html
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Final
from urllib.parse import unquote_to_bytes

from cryptography import x509

from server.gate import Gate
from twinward.errors import TwinwardError
from twinward.founding import tls_key_digest
from twinward.rpc.peer import SHOWN_HEADER
from twinward.rpc.tls import TlsFiles

_LARGEST_HEAD: Final = 16 * 1024
_IDLE_SECONDS: Final = 300.0
_YES = b"HTTP/1.1 204 No Content\r\n\r\n"
_NO = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"


class Keeper:
    """One for a coordinator with a front door; lives on its event loop."""

    def __init__(self, gate: Gate, *, door: str) -> None:
        self._gate = gate
        self._door = door

    def is_served(self, shown: str) -> bool:
        """Whether a certificate, PEM and percent-encoded, is of a member whom nobody put out.

        A hospital that left of its own will is: it still brings its patients' withdrawals.
        """
        try:
            certificate = x509.load_pem_x509_certificate(unquote_to_bytes(shown))
            self._gate.admit(certificate, although_left=True)
        except (ValueError, TwinwardError):
            return False
        return True

    async def serve(self, *, tls: TlsFiles, host: str, port: int) -> asyncio.Server:
        """Listen; the caller closes it."""
        context = tls.server_context(mutual=True)
        return await asyncio.start_server(
            self._answer, host, port, ssl=context, limit=_LARGEST_HEAD
        )

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            OSError, TimeoutError, ssl.SSLError, asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
        ):  # fmt: skip
            if self._is_door(writer):
                while True:
                    waiting = reader.readuntil(b"\r\n\r\n")
                    head = (await asyncio.wait_for(waiting, _IDLE_SECONDS)).decode("latin-1")
                    shown = [
                        value.strip()
                        for name, _, value in (line.partition(":") for line in head.splitlines())
                        if name.lower() == SHOWN_HEADER
                    ]
                    served = len(shown) == 1 and self.is_served(shown[0])
                    writer.write(_YES if served else _NO)
                    await writer.drain()
        with contextlib.suppress(OSError, ssl.SSLError):
            writer.close()

    def _is_door(self, writer: asyncio.StreamWriter) -> bool:
        connection: ssl.SSLObject = writer.get_extra_info("ssl_object")
        shown = connection.getpeercert(binary_form=True)
        if shown is None:
            return False
        return tls_key_digest(x509.load_der_x509_certificate(shown).public_key()) == self._door
