"""Fetching public data from an address that the user names, or leaving nothing behind.

What leaves: a GET for each file, to that address and nowhere else; redirects are not followed. A
file is kept only when its SHA-256 is the pinned one, so it does not matter who serves it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from hospital_node.data.public_sets import PublicSet
from twinward.errors import EXIT_UNREACHABLE, DataError, UsageError
from twinward.files import write_atomic

_LARGEST_FILE = 64 * 2**20
_SECONDS = 30.0
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class SourceUnreachable(DataError):
    """The address did not answer; the same call may be repeated safely."""

    exit_status = EXIT_UNREACHABLE
    default_code = "TW7241"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is there now, and whether it was there before."""

    path: Path
    sha256: str
    was_there: bool


def fetch(wanted: PublicSet, *, address: str, out: Path) -> list[Fetched]:
    """Every file of the set in the folder ``out``, each with its pinned hash.

    Dying half-way leaves some of the files; fetching again completes them.

    Raises:
        UsageError: TW7240, the address is no https URL (http on this machine only).
        SourceUnreachable: TW7241, it does not answer or does not have the file.
        DataError: TW7242, what it sent is another file; it was not kept.
    """
    parts = urlsplit(address)
    plain = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if not parts.hostname or not (parts.scheme == "https" or plain) or parts.username:
        raise UsageError(
            "public data is fetched over https, or over http from this machine",
            code="TW7240",
            help="give an https address without a user name, the folder that holds the files",
        )
    out.mkdir(parents=True, exist_ok=True)
    fetched = []
    with httpx.Client(timeout=_SECONDS, follow_redirects=False) as client:
        for name, sha256 in wanted.files.items():
            path = out / name
            was_there = path.is_file() and _sha256(path.read_bytes()) == sha256
            if not was_there:
                data = _get(client, f"{address.rstrip('/')}/{name}")
                if _sha256(data) != sha256:
                    raise DataError(
                        "the file is not the one that is pinned",
                        code="TW7242",
                        at=f"{address.rstrip('/')}/{name}",
                        note=f"it has SHA-256 {_sha256(data)}, wanted is {sha256}",
                        help="fetch it from another address; this one was not kept",
                    )
                write_atomic(path, data)
            fetched.append(Fetched(path, sha256, was_there))
    return fetched


def _get(client: httpx.Client, url: str) -> bytes:
    try:
        with client.stream("GET", url) as answer:
            if answer.status_code != httpx.codes.OK:
                raise _no_answer(url, f"it answered {answer.status_code}")
            data = bytearray()
            for chunk in answer.iter_bytes():
                data += chunk
                if len(data) > _LARGEST_FILE:
                    raise _no_answer(url, f"it sends more than {_LARGEST_FILE // 2**20} MiB")
            return bytes(data)
    except httpx.HTTPError as error:
        raise _no_answer(url, type(error).__name__) from error


def _no_answer(url: str, why: str) -> SourceUnreachable:
    return SourceUnreachable(
        "the file cannot be fetched",
        code="TW7241",
        at=url,
        note=why,
        help="check the address; it names the folder that holds the files",
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
