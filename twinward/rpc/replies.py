"""How a refusal crosses gRPC: its code, cause and fix travel, nothing else does."""

from __future__ import annotations

import json
from typing import NoReturn

import grpc

from twinward.errors import (
    EXIT_IDENTITY,
    EXIT_REFUSED,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    Diagnostic,
    TwinwardError,
)

_STATUS = {
    EXIT_USAGE: grpc.StatusCode.INVALID_ARGUMENT,
    EXIT_IDENTITY: grpc.StatusCode.PERMISSION_DENIED,
    EXIT_REFUSED: grpc.StatusCode.FAILED_PRECONDITION,
    EXIT_UNREACHABLE: grpc.StatusCode.UNAVAILABLE,
}


class RemoteRefusal(TwinwardError):
    """A refusal that another process gave; it keeps that process's code, text and exit status."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message, help=diagnostic.help, code=diagnostic.code)
        self.diagnostic = diagnostic


async def abort(context: grpc.aio.ServicerContext, error: TwinwardError) -> NoReturn:
    """End a call with a refusal."""
    status = _STATUS.get(error.diagnostic.exit_status, grpc.StatusCode.ABORTED)
    await context.abort(status, json.dumps(error.diagnostic.as_json()))
    raise AssertionError  # pragma: no cover - abort raises


def refusal_of(error: grpc.RpcError, *, otherwise: TwinwardError) -> TwinwardError:
    """The refusal that a failed call carries; ``otherwise`` when the other side gave none."""
    try:
        fields = json.loads(error.details())
        return RemoteRefusal(
            Diagnostic(
                code=str(fields["code"]),
                message=str(fields["message"]),
                at=fields.get("at"),
                note=fields.get("note"),
                help=str(fields["help"]),
                exit_status=int(fields["exit"]),
            )
        )
    except (TypeError, ValueError, KeyError):
        return otherwise
