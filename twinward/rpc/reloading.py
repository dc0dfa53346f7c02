"""A channel that shows whatever certificate is on disk now: a renewal needs no restart.

gRPC reads a client's certificate once, when a channel is made. Here a call after a renewal makes a
new channel; calls under way end on the old one, which is closed at the renewal after.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import grpc

from twinward.rpc.tls import PROMPT

if TYPE_CHECKING:
    from twinward.rpc.tls import TlsFiles


class ReloadingChannel(grpc.Channel):  # type: ignore[misc]
    """A blocking channel over mutual TLS. Thread-safe."""

    def __init__(
        self, address: str, *, tls: TlsFiles, options: Sequence[tuple[str, object]] = ()
    ) -> None:
        self._address = address
        self._options = (*PROMPT, *options)
        self._tls = tls
        self._lock = threading.Lock()
        self._stamp: object = None
        self._inner: grpc.Channel | None = None
        self._before: grpc.Channel | None = None
        self.current()

    def current(self) -> grpc.Channel:
        """The channel with the certificate that is on disk now."""
        with self._lock:
            stamp = self._tls.stamp()
            if self._inner is None or stamp != self._stamp:
                if self._before is not None:
                    self._before.close()
                credentials = self._tls.channel_credentials()
                self._before = self._inner
                self._inner = grpc.secure_channel(self._address, credentials, options=self._options)
                self._stamp = stamp
            return self._inner

    def close(self) -> None:
        """End every call, on the old channel too."""
        with self._lock:
            for channel in (self._before, self._inner):
                if channel is not None:
                    channel.close()

    def unary_unary(self, *how: Any, **more: Any) -> Any:
        """One request, one answer."""
        return _Late(self, "unary_unary", how, more)

    def unary_stream(self, *how: Any, **more: Any) -> Any:
        """One request, a stream of answers."""
        return _Late(self, "unary_stream", how, more)

    def stream_unary(self, *how: Any, **more: Any) -> Any:
        """A stream of requests, one answer."""
        return _Late(self, "stream_unary", how, more)

    def stream_stream(self, *how: Any, **more: Any) -> Any:
        """A stream of requests, a stream of answers."""
        return _Late(self, "stream_stream", how, more)

    def subscribe(self, callback: Any, try_to_connect: Any = None) -> None:
        """Watch the state of the channel that is current now."""
        self.current().subscribe(callback, bool(try_to_connect))

    def unsubscribe(self, callback: Any) -> None:
        """Watch no more."""
        self.current().unsubscribe(callback)

    def __enter__(self) -> Self:
        """The channel is closed with the ``with`` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


class _Late:
    """A method that asks for the channel when it is called, not when a stub was made."""

    def __init__(self, owner: ReloadingChannel, kind: str, how: Any, more: Any) -> None:
        self._owner, self._kind, self._how, self._more = owner, kind, how, more

    def _now(self) -> Any:
        return getattr(self._owner.current(), self._kind)(*self._how, **self._more)

    def __call__(self, *request: Any, **options: Any) -> Any:
        return self._now()(*request, **options)

    def with_call(self, *request: Any, **options: Any) -> Any:
        return self._now().with_call(*request, **options)

    def future(self, *request: Any, **options: Any) -> Any:
        return self._now().future(*request, **options)
