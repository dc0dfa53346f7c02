"""Structured logs that cannot leak: only keys on the allow-list are ever written."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

ALLOWED_KEYS = frozenset(
    {
        # about the message
        "event", "level", "timestamp", "role", "org", "error", "code", "reason", "hint",
        # about the network; nothing here depends on a record
        "study", "run", "plan", "step", "epoch", "attempt", "attempts_left", "members", "missing",
        "peer", "port", "url", "socket", "pid", "exit_status", "child", "restarts", "seconds",
        "ms", "block", "head", "tx", "channel", "bytes", "kind", "digest", "version", "path",
    }
)  # fmt: skip
"""Adding a key here is a privacy decision: say in review why it cannot depend on a record."""


def _drop_unlisted(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    dropped = [key for key in event if key not in ALLOWED_KEYS]
    for key in dropped:
        del event[key]
    if dropped:
        event["hint"] = f"{len(dropped)} unlisted key(s) dropped"
    return event


def configure(*, role: str, org: str, stream: TextIO = sys.stderr) -> None:
    """Log to the stream: for people on a terminal, one JSON object a line otherwise."""
    renderer: Any = (
        structlog.dev.ConsoleRenderer() if stream.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _drop_unlisted,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(role=role, org=org)


def log() -> Any:
    """The logger; call it where you log, not at import."""
    return structlog.get_logger()
