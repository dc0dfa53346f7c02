"""What the demonstration stands on: a folder, commands shown before they run, processes."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import click

from twinward.errors import InternalError

Json = dict[str, Any]
_LOWEST_PORT, _CLIENT_PORTS = 20_000, 32_000
_STOP_SECONDS = 8.0


@dataclass(slots=True)
class Stage:
    """One demonstration: every command runs in ``folder`` and is printed as a person types it."""

    folder: Path
    show: Callable[[str], None] = click.echo
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    brief: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """Commands that were begun and end by themselves, unless this one is interrupted."""

    def __enter__(self) -> Self:
        """The folder exists; processes end with the ``with`` block."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything that was started, nodes first."""
        for process in self.brief:
            if process.poll() is None:
                process.kill()
                process.wait()
        for name in reversed(list(self.running)):
            self._signal(name, signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()

    def heading(self, text: str) -> None:
        """Begin a part."""
        self.show(f"\n[{time.monotonic() - self.started:4.0f} s] {text}")

    def say(self, text: str) -> None:
        """One remark, indented under its part."""
        for line in text.splitlines():
            self.show(f"   {line}")

    def command(self, *words: str, quiet: bool = False) -> Json:
        """Run ``twinward WORDS --json`` to its end; shown without ``--json``.

        Raises:
            InternalError: TW9010, it failed.
        """
        if not quiet:
            self.say(f"$ twinward {' '.join(words)}")
        return self.finish(self.begin(*words), words)

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Start ``twinward WORDS --json`` and go on."""
        process = self._spawn([*words, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.brief.append(process)
        return process

    def finish(self, process: subprocess.Popen[bytes], words: Sequence[str]) -> Json:
        """What a begun command printed.

        Raises:
            InternalError: TW9010.
        """
        out, err = process.communicate()
        if process.returncode != 0:
            raise InternalError(
                f"`twinward {' '.join(words)}` failed with exit status {process.returncode}",
                code="TW9010",
                note=(out + err).decode(errors="replace")[-600:],
                help="run it by hand with the folder kept: `twinward demo --keep FOLDER`",
            )
        value: Json = json.loads(out)
        return value

    def refused(self, *words: str) -> Json:
        """Run a command that has to be refused; returns its error.

        Raises:
            InternalError: TW9011, it was not refused.
        """
        self.say(f"$ twinward {' '.join(words)}")
        process = self.begin(*words)
        out, _ = process.communicate()
        if process.returncode == 0:
            raise InternalError(
                f"`twinward {' '.join(words)}` was not refused",
                code="TW9011",
                help="this is a serious fault: report it and do not use this version",
            )
        value: Json = json.loads(out)
        return value

    def up(self, name: str, *words: str) -> None:
        """Start a long-running ``twinward WORDS``; its output goes to ``NAME.log``.

        It ends with this process, however this process ends.
        """
        self.say(f"$ twinward {' '.join(words)} &")
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = self._spawn(
                [*words, "--end-with-stdin"], stdin=subprocess.PIPE, stdout=log, stderr=log
            )

    def wait_for(self, name: str, words: str, *, seconds: float = 45.0) -> None:
        """Wait until a started process has printed these words.

        Raises:
            InternalError: TW9012, it ended or did not get there in time.
        """
        log, deadline = self.folder / f"{name}.log", time.monotonic() + seconds
        while words not in log.read_text(encoding="utf-8", errors="replace"):
            ended = self.running[name].poll()
            if ended is not None or time.monotonic() > deadline:
                raise InternalError(
                    f"`{name}` did not come up",
                    code="TW9012",
                    note=log.read_text(encoding="utf-8", errors="replace")[-600:],
                    help=f"read {log}",
                )
            time.sleep(0.05)

    def kill(self, name: str) -> None:
        """Kill -9, as a power cut would."""
        self._signal(name, signal.SIGKILL)
        process = self.running.pop(name)
        process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def events(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command whose output is one JSON event a line."""
        self.say(f"$ twinward {' '.join(words)}")
        return self.begin(*words)

    def _signal(self, name: str, number: int) -> None:
        process = self.running[name]
        if process.poll() is None:
            process.send_signal(number)

    def _spawn(
        self, words: Sequence[str], *, stdout: Any, stderr: Any, stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "twinward", *words],
            cwd=self.folder,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=os.environ | {"NO_COLOR": "1"},
        )


def free_ports(count: int) -> int:
    """The first of ``count`` neighbouring loopback ports that are free now.

    Below those that the system gives to clients: one of them could be taken before it is used.

    Raises:
        InternalError: TW9013, none found.
    """
    for _ in range(200):
        first = _LOWEST_PORT + secrets.randbelow(_CLIENT_PORTS - _LOWEST_PORT - count)
        if all(_is_free(first + i) for i in range(count)):
            return first
    raise InternalError(
        f"no {count} neighbouring free ports on this machine",
        code="TW9013",
        help="stop other servers, or try again",
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
