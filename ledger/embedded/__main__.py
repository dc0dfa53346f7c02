"""``python -m ledger.embedded``: run the node until it is told to stop."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from ledger.embedded.genesis import Genesis
from twinward.child import end_with_stdin
from twinward.clock import SystemClock
from twinward.errors import LedgerError, TwinwardError


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
    chosen = parser.parse_args(arguments)
    if chosen.end_with_stdin:
        end_with_stdin()
    try:
        return _serve(chosen.dir, chosen.host, chosen.port, chosen.genesis)
    except TwinwardError as error:
        print(error.diagnostic.as_text(), file=sys.stderr)  # noqa: T201 - a program of its own
        return error.exit_status


def _serve(folder: Path, host: str, port: int, genesis_file: Path | None) -> int:
    # py-evm takes a while to import; a wrong option should not have to wait for it.
    from ledger.embedded.engine import Engine  # noqa: PLC0415
    from ledger.embedded.methods import Methods  # noqa: PLC0415
    from ledger.embedded.node import Node  # noqa: PLC0415
    from ledger.embedded.server import RpcServer  # noqa: PLC0415
    from ledger.embedded.store import Store  # noqa: PLC0415

    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = None if genesis_file is None else genesis_file.read_bytes()
    except OSError as error:
        raise LedgerError(
            f"the ledger's files cannot be read ({error})",
            code="TW5010",
            help="check the paths given to --dir and --genesis",
        ) from error
    genesis = None if text is None else Genesis.from_json(text, at=str(genesis_file))
    node = Node(Engine(Store(folder / "chain.sqlite"), genesis), clock=SystemClock())
    try:
        server = RpcServer((host, port), Methods(node))
    except OSError as error:
        node.close()
        raise LedgerError(
            f"cannot listen on {host}:{port} ({error.strerror})",
            code="TW5017",
            help="choose a free port; 0 takes any",
        ) from error
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"ready http://{host}:{server.server_address[1]}", flush=True)  # noqa: T201 - the parent waits for it
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    node.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
