"""A real PostgreSQL server of the tests' own: a private folder, a Unix socket, ``fsync`` on.

One server for a session of tests, a schema for each vault. Run as an ordinary user: `initdb`
refuses root. It can be killed with everything that it runs, and started again over the same files.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

import pytest

from consent.postgres_url import PostgresUrl

EMPTY: Mapping[str, bytes] = MappingProxyType({})
USER, DATABASE = "twinward", "consents"


@cache
def binaries() -> Path | None:
    """Where the newest server lies on this machine."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4])
    )
    on_path = shutil.which("postgres")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def is_here() -> bool:
    """Whether a server and its driver are installed."""
    with suppress(ImportError):
        import psycopg  # noqa: F401

        return binaries() is not None
    return False


WHY_NOT = "needs a PostgreSQL server and psycopg: `apt install postgresql`"


class Server:
    """One cluster; `start` and `kill` as often as a test likes."""

    def __init__(
        self, *, hba: str = "", files: Mapping[str, bytes] = EMPTY, **settings: str
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="twpg-", dir="/tmp"))
        self.data = self.folder / "data"
        self._settings = {
            "listen_addresses": "",
            "port": "5432",
            "unix_socket_directories": str(self.folder),
            "shared_buffers": "16MB",
            "max_wal_size": "256MB",
            "log_min_messages": "fatal",
        } | settings
        self._process: subprocess.Popen[bytes] | None = None
        self._schemas: dict[Path, str] = {}
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self._do("initdb", "-D", self.data, "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8")
        if hba:
            known = (self.data / "pg_hba.conf").read_text()
            (self.data / "pg_hba.conf").write_text(f"{hba}\n{known}")
        for name, content in files.items():
            (self.data / name).write_bytes(content)
            (self.data / name).chmod(0o600)
            if os.getuid() == 0:
                shutil.chown(self.data / name, "postgres", "postgres")
        self.start()
        self._do("createdb", "-h", self.folder, "-p", self._settings["port"], "-U", USER, DATABASE)

    @property
    def url(self) -> PostgresUrl:
        port = int(self._settings["port"])
        return PostgresUrl(str(self.folder), port, USER, DATABASE, (("sslmode", "prefer"),))

    @property
    def text(self) -> str:
        """As it stands in `node.toml`."""
        return f"postgresql://{USER}@/{DATABASE}?host={self.folder}"

    def vault(self, folder: Path) -> PostgresUrl:
        """A vault of its own for this folder; the same one when asked again."""
        schema = self._schemas.setdefault(folder, f"v{len(self._schemas)}_{os.getpid()}")
        return replace(self.url, schema=schema)

    def sql(self, statement: str) -> str:
        """Something that the hospital's database people do."""
        return self._do(
            "psql", "-h", self.folder, "-U", USER, "-d", DATABASE, "-qtAX", "-v",
            "ON_ERROR_STOP=1", "-c", statement,
        ).strip()  # fmt: skip

    def start(self) -> None:
        options = [part for pair in self._settings.items() for part in ("-c", "=".join(pair))]
        self._process = subprocess.Popen(
            [*_as_ordinary_user(), binaries() / "postgres", "-D", self.data, *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(600):
            asked = ["pg_isready", "-q", "-h", str(self.folder), "-p", self._settings["port"]]
            if subprocess.run([binaries() / asked[0], *asked[1:]]).returncode == 0:
                return
            if self._process.poll() is not None:
                raise RuntimeError("the server did not start")
            time.sleep(0.05)
        raise RuntimeError("the server does not answer")

    @property
    def is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kill -9, the postmaster first, so that it repairs nothing, then all that it started."""
        assert self._process is not None
        children = _children(self._process.pid)
        self._process.kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait()
        while any(map(_runs, children)):
            time.sleep(0.01)

    def close(self) -> None:
        if self.is_up:
            self._process.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
            self._process.wait()
        shutil.rmtree(self.folder)

    def _do(self, name: str, *arguments: object) -> str:
        command = [*_as_ordinary_user(), str(binaries() / name), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout


def _as_ordinary_user() -> list[str]:
    if os.getuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


def _children(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            if re.search(rf"^PPid:\s+{pid}$", status.read_text(), re.MULTILINE):
                found.append(int(status.parent.name))
    return found


def _runs(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


_shared: list[Server] = []


def shared() -> Server:
    """The one server of this session, started when it is first asked for."""
    if not is_here():
        pytest.skip(WHY_NOT)
    if not _shared:
        _shared.append(Server())
    return _shared[0]


def end_shared() -> None:
    while _shared:
        _shared.pop().close()


@contextmanager
def all_closed():
    """Close what was opened meanwhile: a test's hospital may end like a process does."""
    from consent.postgres import PostgresStore

    opened, real = [], PostgresStore.open.__func__

    def remembered(cls, *args, **kwargs):
        opened.append(real(cls, *args, **kwargs))
        return opened[-1]

    PostgresStore.open = classmethod(remembered)
    try:
        yield
    finally:
        PostgresStore.open = classmethod(real)
        for store in opened:
            store.close()


@contextmanager
def server(**how):
    """A server of a test's own."""
    if not is_here():
        pytest.skip(WHY_NOT)
    found = Server(**how)
    try:
        yield found
    finally:
        found.close()
