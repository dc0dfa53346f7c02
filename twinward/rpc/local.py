"""Talking to a daemon on the same machine: a UNIX socket in a private folder, and a token.

The folder (mode 0700) keeps other users out; the token keeps out processes of the same user that
were not started by the supervisor. Neither is ever on a command line.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc

from twinward.errors import IdentityError, UsageError
from twinward.files import read_secret, write_atomic

SOCKET_VARIABLE = "TWINWARD_DAEMON_SOCKET"
TOKEN_VARIABLE = "TWINWARD_DAEMON_TOKEN_FILE"  # noqa: S105 - the name of a variable
_LONGEST_SOCKET_PATH = 100  # the kernel's limit is 108 bytes with the terminating zero


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """Where a daemon listens and where its token lies."""

    socket: Path
    token_file: Path

    @classmethod
    def of(cls, folder: Path, *, name: str = "daemon") -> LocalAddress:
        """The address of the daemon that owns this folder; the same for every caller.

        Socket paths are short by law of the kernel, so a deep folder gets one under the
        temporary folder, named by user and hash, private all the same.
        """
        private = folder.resolve() / "run"
        if len(str(private / f"{name}.sock")) > _LONGEST_SOCKET_PATH:
            tag = hashlib.sha256(str(private).encode()).hexdigest()[:16]
            private = Path(tempfile.gettempdir()) / f"twinward-{os.getuid()}-{tag}"
        return cls(private / f"{name}.sock", private / f"{name}.token")

    def environment(self) -> dict[str, str]:
        """What a child process needs in its environment to find the daemon."""
        return {SOCKET_VARIABLE: str(self.socket), TOKEN_VARIABLE: str(self.token_file)}

    @classmethod
    def from_environment(cls) -> LocalAddress:
        """The address a supervisor gave this process.

        Raises:
            IdentityError: TW2020, started without the launcher.
        """
        try:
            return cls(Path(os.environ[SOCKET_VARIABLE]), Path(os.environ[TOKEN_VARIABLE]))
        except KeyError as error:
            raise IdentityError(
                "this process has no credential for the daemon",
                code="TW2020",
                help="start it through `twinward node up` or `twinward server up`",
            ) from error

    def prepare(self) -> str:
        """Make the private folder and a fresh token; removes a dead socket. Returns the token."""
        folder = self.socket.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise IdentityError(
                "the folder of the daemon's socket is open to other users",
                code="TW2021",
                at=str(folder),
                help="remove that folder, or fix its owner and `chmod 700` it",
            )
        self.socket.unlink(missing_ok=True)
        token = secrets.token_hex(32)
        write_atomic(self.token_file, token.encode(), mode=0o600)
        return token

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The call metadata that proves the caller was given the token.

        Raises:
            UsageError: TW1040, the daemon is not running here.
        """
        if not self.socket.exists():
            raise UsageError(
                "no daemon is listening here",
                code="TW1040",
                at=str(self.socket),
                help="start it with `twinward node up` or `twinward server up`",
            )
        token = read_secret(self.token_file).decode()
        return (("authorization", f"Bearer {token}"),)


class _TokenOnEveryCall(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
):
    def __init__(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self._metadata = metadata

    def _with_token(self, details: grpc.ClientCallDetails) -> grpc.ClientCallDetails:
        details_with_token = _CallDetails()
        for name in ("method", "timeout", "credentials", "wait_for_ready", "compression"):
            setattr(details_with_token, name, getattr(details, name, None))
        details_with_token.metadata = (*(details.metadata or ()), *self._metadata)
        return details_with_token

    def intercept_unary_unary(self, continuation, details, request):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - gRPC's own untyped shape
        return continuation(self._with_token(details), request)

    def intercept_unary_stream(self, continuation, details, request):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - gRPC's own untyped shape
        return continuation(self._with_token(details), request)


class _CallDetails(grpc.ClientCallDetails):  # type: ignore[misc]
    pass


def local_channel(address: LocalAddress) -> grpc.Channel:
    """A blocking channel to the daemon; the token goes with every call.

    Raises:
        UsageError: TW1040, the daemon is not running here.
    """
    # The default authority of a unix target is percent-encoded, which HTTP/2 servers refuse.
    channel = grpc.insecure_channel(
        f"unix:{address.socket}", options=[("grpc.default_authority", "localhost")]
    )
    return grpc.intercept_channel(channel, _TokenOnEveryCall(address.metadata()))


class RequireToken(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Refuses every call that does not carry the daemon's token."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Pass the call on, or end it as unauthenticated."""
        given = dict(details.invocation_metadata or ()).get("authorization", "")
        handler = await continuation(details)
        if hmac.compare_digest(str(given).encode(), self._expected):
            return handler

        async def refuse(_request: object, context: grpc.aio.ServicerContext) -> None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no credential for this daemon")

        return grpc.unary_unary_rpc_method_handler(refuse)


def local_server(address: LocalAddress) -> grpc.aio.Server:
    """An aio server bound to the daemon's socket; the caller adds services and starts it."""
    token = address.prepare()
    server = grpc.aio.server(interceptors=[RequireToken(token)])
    server.add_insecure_port(f"unix:{address.socket}")
    return server
