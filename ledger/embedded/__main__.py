"""``python -m ledger.embedded``: run the node until it is told to stop."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.embedded.genesis import Genesis
from ledger.endpoint import Endpoint
from ledger.process import URL_FILE
from twinward.child import end_with_stdin
from twinward.clock import SystemClock
from twinward.errors import LedgerError, TwinwardError
from twinward.files import write_atomic

if TYPE_CHECKING:
    from ledger.embedded.follow import Following
    from ledger.embedded.node import Node


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; prints ``ready http://HOST:PORT`` once it answers."""
    parser = argparse.ArgumentParser(prog="python -m ledger.embedded", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="where the chain is kept")
    parser.add_argument("--port", type=int, required=True, help="0 takes any free port")
    parser.add_argument("--host", default="127.0.0.1", help="default: the loopback")
    parser.add_argument("--genesis", type=Path, help="genesis file; needed the first time")
    parser.add_argument(
        "--end-with-stdin",
        action="store_true",
        help="stop when standard input ends: the supervisor that started this is gone",
    )
    parser.add_argument("--follow", metavar="URL", help="execute the blocks of this node again")
    parser.add_argument("--readers", type=Path, help="token file: who may read; default: anyone")
    parser.add_argument("--writers", type=Path, help="token file: who may send; default: anyone")
    parser.add_argument("--tls-certificate", type=Path, help="serve HTTPS with this certificate")
    parser.add_argument("--tls-key", type=Path, help="its key")
    parser.add_argument("--tls-client-ca", type=Path, help="only clients with its certificates")
    parser.add_argument(
        "--members-ca", type=Path, help="its certificates stand for a token; all others need one"
    )
    parser.add_argument("--revoked", type=Path, help="file of key digests that --members-ca denies")
    parser.add_argument("--upstream-ca", type=Path, help="CA of the node that is followed")
    parser.add_argument("--upstream-certificate", type=Path, help="what is shown to it")
    parser.add_argument("--upstream-key", type=Path, help="the key of that")
    parser.add_argument("--upstream-token", type=Path, help="file with the token for it")
    parser.add_argument("--upstream-proxy", help="this hospital's forwarder, to get there")
    chosen = parser.parse_args(arguments)
    if chosen.end_with_stdin:
        end_with_stdin()
    try:
        return _serve(chosen)
    except TwinwardError as error:
        print(error.diagnostic.as_text(), file=sys.stderr)  # noqa: T201 - a program of its own
        return error.exit_status


def _serve(chosen: argparse.Namespace) -> int:
    # py-evm takes a while to import; a wrong option should not have to wait for it.
    from ledger.embedded.access import Access, tls_contexts  # noqa: PLC0415
    from ledger.embedded.engine import Engine  # noqa: PLC0415
    from ledger.embedded.methods import Methods  # noqa: PLC0415
    from ledger.embedded.node import Node  # noqa: PLC0415
    from ledger.embedded.server import RpcServer  # noqa: PLC0415
    from ledger.embedded.store import Store  # noqa: PLC0415

    folder: Path = chosen.dir
    access = Access.of(
        readers=chosen.readers,
        writers=chosen.writers,
        members=chosen.members_ca is not None,
        revoked=chosen.revoked,
    )
    tls = None
    if chosen.tls_certificate is not None:
        tls = tls_contexts(
            certificate=chosen.tls_certificate,
            key=chosen.tls_key or chosen.tls_certificate,
            client_ca=chosen.tls_client_ca or chosen.members_ca,
            optional=chosen.tls_client_ca is None,
        )
    genesis = _genesis(folder, chosen.genesis)
    engine = Engine(Store(folder / "chain.sqlite"), genesis)
    node = Node(engine, clock=SystemClock(), follows=chosen.follow is not None)
    following = _following(node, chosen)
    methods = Methods(node) if following is None else Methods(node, following=following.as_json)
    try:
        server = RpcServer((chosen.host, chosen.port), methods, access=access, tls=tls)
    except OSError as error:
        node.close()
        raise LedgerError(
            f"cannot listen on {chosen.host}:{chosen.port} ({error.strerror})",
            code="TW5017",
            help="choose a free port; 0 takes any",
        ) from error
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    if following is not None:
        following.start()
    write_atomic(folder / URL_FILE, server.url.encode(), mode=0o600)
    print(f"ready {server.url}", flush=True)  # noqa: T201 - the parent waits for it
    server.serve_forever(poll_interval=0.1)
    if following is not None:
        following.stop()
    server.server_close()
    node.close()
    (folder / URL_FILE).unlink(missing_ok=True)
    return 0


def _genesis(folder: Path, file: Path | None) -> Genesis | None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return None if file is None else Genesis.from_json(file.read_bytes(), at=str(file))
    except OSError as error:
        raise LedgerError(
            f"the ledger's files cannot be read ({error})",
            code="TW5010",
            help="check the paths given to --dir and --genesis",
        ) from error


def _following(node: Node, chosen: argparse.Namespace) -> Following | None:
    """What follows the other node, if one is named; not started yet."""
    from ledger.embedded.follow import Following  # noqa: PLC0415 - heavy

    if chosen.follow is None:
        return None
    endpoint = Endpoint.by_files(
        chosen.follow,
        ca=chosen.upstream_ca,
        certificate=chosen.upstream_certificate,
        key=chosen.upstream_key,
        token=chosen.upstream_token,
        proxy=chosen.upstream_proxy,
    )
    return Following(node, rpc=endpoint.rpc(), folder=chosen.dir)


if __name__ == "__main__":
    sys.exit(main())
