"""Who may use the coordinator's ledger node: members by certificate, auditors by token.

Certificates come from the founding, so a hospital needs nothing more. In ``state/ledger`` lie
``readers``, tokens for whoever is no member, and ``revoked``, keys that are let in no more.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from ledger.embedded.access import READERS, REVOKED
from ledger.endpoint import Endpoint
from ledger.process import LedgerProcess
from server.paths import ServerPaths
from twinward.files import write_atomic, write_secret
from twinward.founding import Founding
from twinward.logging import log
from twinward.organisation import Organisation
from twinward.rpc.tls import TlsFiles


def own_ledger(
    founding: Founding, organisation: Organisation, *, port: int
) -> LedgerProcess | None:
    """The embedded node, not started yet; None if the founding file names a ledger elsewhere.

    An https address in the founding file means that only members and tokens get in; networks that
    were founded before have http, on the loopback.
    """
    if founding.is_ledger_outside:
        return None
    endpoint = Endpoint.of(founding, organisation.folder)
    folder = ServerPaths(organisation.folder).ledger
    return LedgerProcess(
        folder,
        genesis=dict(founding.chain["genesis"]),
        host=str(urlsplit(endpoint.url).hostname),
        port=port,
        options=() if endpoint.tls is None else options(folder, tls=organisation.tls),
        endpoint=endpoint,
        on_restart=lambda status: log().warning(
            "ledger ended and is started again", exit_status=status
        ),
    )


def options(folder: Path, *, tls: TlsFiles) -> list[str]:
    """What the ledger node is started with, so that only members and tokens get in.

    The first start makes a token that nobody has: from then on one can be handed out while the
    node runs.

    Args:
        folder: The node's.
        tls: The coordinator's certificate, which it shows, and the network's CA.
    """
    readers = folder / READERS
    if not readers.exists():
        write_secret(readers, f"{secrets.token_hex(32)}\n".encode())
    return [
        *("--tls-certificate", str(tls.certificate.resolve())),
        *("--tls-key", str(tls.key.resolve())),
        *("--members-ca", str(tls.ca.resolve())),
        *("--readers", str(readers.resolve())),
        *("--revoked", str((folder / REVOKED).resolve())),
    ]


def revoke(folder: Path, keys: Iterable[str]) -> None:
    """Let exactly these TLS keys in no more, from the next request on.

    Args:
        folder: The node's.
        keys: SHA-256 of public keys, hex, as ``Member.tls_spki_sha256`` has them.
    """
    write_atomic(folder / REVOKED, "".join(f"{one}\n" for one in sorted(keys)).encode(), mode=0o600)
