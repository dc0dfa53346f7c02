"""One thing done again and again in a thread of a daemon, which nothing that it meets ends."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

from twinward.errors import InternalError, TwinwardError

_STOP_SECONDS = 3.0


class Ticking(ABC):
    """A thread that calls `tick` at fixed pauses until it is stopped.

    A refusal is told to `failed`, and so is whatever was not expected, as an `InternalError`: a
    thread that dies silently helps nobody.

    Args:
        name: Of the thread, and of what it does in words.
        every_seconds: From the end of one tick to the beginning of the next.
        code: Of what was not expected.
        at_once: Whether the first tick is at the start, or after one pause.
    """

    def __init__(
        self, name: str, *, every_seconds: float, code: str = "TW9000", at_once: bool = True
    ) -> None:
        self._name = name
        self._every = every_seconds
        self._code = code
        self._at_once = at_once
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def tick(self) -> None:
        """Do it once."""

    @abstractmethod
    def failed(self, error: TwinwardError) -> None:
        """Told why a tick came to nothing; the next one comes all the same."""

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End; a tick that hangs on somebody silent is not waited for."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        if not self._at_once:
            self._ended.wait(self._every)
        while not self._ended.is_set():
            try:
                self.tick()
            except TwinwardError as error:
                self.failed(error)
            except Exception as error:  # noqa: BLE001 - what it is for
                self.failed(
                    InternalError(
                        f"{self._name} met an unexpected {type(error).__name__}",
                        code=self._code,
                        note=str(error)[:300],
                        help="it is tried again; check disk space, then report it",
                    )
                )
            self._ended.wait(self._every)
