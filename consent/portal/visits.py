"""Who is there now, and with which letters: in memory only, gone when the site stops.

The codes of letters open everything that a patient may do. They are kept for the visit, never on a
disk; the session's file knows a random name, which means nothing without this process.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence

_MOST_VISITS = 10_000
_MOST_LETTERS = 20


class Visits:
    """The letters of each visit. Thread-safe; the oldest visits make room for new ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._codes: OrderedDict[str, tuple[bytes, ...]] = OrderedDict()

    def begin(self, code: bytes) -> str:
        """A new visit with one letter; its random name."""
        name = secrets.token_urlsafe(16)
        with self._lock:
            self._codes[name] = (code,)
            if len(self._codes) > _MOST_VISITS:
                self._codes.popitem(last=False)
        return name

    def add(self, name: str, code: bytes) -> None:
        """One more letter of the same visit."""
        with self._lock:
            codes = self._codes.get(name, ())
            if code not in codes:
                self._codes[name] = (*codes, code)[-_MOST_LETTERS:]

    def codes(self, name: str) -> Sequence[bytes] | None:
        """The letters of a visit, or None if it is over."""
        with self._lock:
            return self._codes.get(name)

    def end(self, name: str) -> None:
        """Forget a visit and its letters."""
        with self._lock:
            self._codes.pop(name, None)
