"""Child processes of a daemon: a scrubbed environment, a log file, a wake-up pipe, a sure end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ")


def scrubbed_environment(additions: Mapping[str, str]) -> dict[str, str]:
    """The few harmless variables of this process, plus what is given; no proxy, no secret."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**kept, **additions}


def end_with_stdin() -> None:
    """End this process as SIGTERM would when its standard input ends: its supervisor is gone.

    For a supervisor that may be killed itself; it keeps the other end of a pipe and never closes
    it. Returns at once, a thread watches.
    """

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(sys.stdin.fileno(), 4096):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="end-with-stdin", daemon=True).start()


class Child:
    """One Python module run as a program, in a session of its own.

    The interpreter runs isolated (``-I``): neither the current folder, nor ``PYTHONPATH``, nor the
    user's site folder can put another module in place of an installed one. If this process dies,
    the end of the child's standard input tells it; after ``kill`` no process of its session is
    left.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        environment: Mapping[str, str],
        log: Path,
        folder: Path,
    ) -> None:
        self._command = [sys.executable, "-I", "-m", module, *arguments]
        self._environment = dict(environment)
        self._log = log
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self.exit_status() is None and self._process else None

    def start(self) -> None:
        """Start it; what it prints is appended to the log file."""
        descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=descriptor,
                stderr=descriptor,
                env=self._environment,
                cwd=self._folder,
                start_new_session=True,
            )
        finally:
            os.close(descriptor)

    def exit_status(self) -> int | None:
        """None while it runs or was never started, its exit status after."""
        return None if self._process is None else self._process.poll()

    def wake(self) -> None:
        """Tell it that there is work, so that it need not poll; a dead child hears nothing."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self._process.stdin.write(b"\n")
                self._process.stdin.flush()

    def stop(self, *, grace: float = 5.0) -> None:
        """Ask it to end, wait up to ``grace`` seconds, then kill its whole session."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
        self.kill()

    def kill(self) -> None:
        """End every process of its session now."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()

    def last_words(self, *, lines: int = 8) -> str:
        """The end of its log, for an error message."""
        try:
            text = self._log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])
