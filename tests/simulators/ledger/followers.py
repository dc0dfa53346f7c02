"""A following node in this process, and witnesses on it."""

import threading

from ledger.embedded.engine import Engine
from ledger.embedded.follow import Following
from ledger.embedded.methods import Methods
from ledger.embedded.node import Node
from ledger.embedded.server import RpcServer
from ledger.embedded.store import Store
from ledger.rpc import Rpc
from tests.simulators.ledger.network import START
from twinward.clock import FixedClock


class Follower:
    """Follows by hand (``following.catch_up``) or by itself (``following.start``)."""

    def __init__(self, folder, upstream, *, genesis):
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.engine = Engine(Store(folder / "chain.sqlite"), genesis)
        self.node = Node(self.engine, clock=FixedClock(START), follows=True)
        self.following = Following(self.node, rpc=Rpc(upstream), folder=folder)
        self.server = RpcServer(("127.0.0.1", 0), Methods(self.node, following=self._standing))
        self.url = self.server.url
        self.rpc = Rpc(self.url)
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self._stopped = False

    def _standing(self):
        return self.following.as_json()

    def point_at(self, url):
        """Follow another node from now on, as if the operator showed another history."""
        self.following._rpc.close()
        self.following = Following(self.node, rpc=Rpc(url), folder=self.folder)

    def stop(self):
        if self._stopped:
            return
        self._stopped = True
        self.following.stop()
        self.server.shutdown()
        self.server.server_close()
        self.node.close()
        self._thread.join()
        self.rpc.close()
