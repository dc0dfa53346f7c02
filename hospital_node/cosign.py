"""Co-signing checkpoints of the network's log, as this hospital, by what its own node executed.

The witness's thread does it for each new one; a command does it for a file. A checkpoint that the
coordinator signed and that the executed chain denies is kept as evidence, and nothing is co-signed
while it lies there.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import grpc

from hospital_node import audit_log, membership
from hospital_node.egress import Egress
from hospital_node.follower import CALL_SECONDS, coordinator_silent
from hospital_node.paths import NodePaths
from ledger.deployed import contracts_of
from ledger.log import checkpoint
from ledger.log.witness import LogWitness
from ledger.process import own_url
from ledger.rpc import Rpc
from ledger.verify import Checkpoint
from twinward.clock import Clock, SystemClock
from twinward.errors import EvidenceError
from twinward.files import write_atomic
from twinward.founding import Founding
from twinward.organisation import Organisation
from twinward.rpc.messages_pb2 import Blob
from twinward.rpc.messages_pb2_grpc import NetworkStub
from twinward.rpc.replies import refusal_of
from twinward.signing import Identity

_EVIDENCE = "denied-checkpoint-"
CONTRADICTED = "TW3605"


class CheckpointWitness:
    """One hospital's hand under the checkpoints that its coordinator signs."""

    def __init__(
        self,
        paths: NodePaths,
        *,
        founding: Founding,
        identity: Identity,
        network: NetworkStub,
        egress: Egress,
        clock: Clock,
    ) -> None:
        """Nothing is read or asked yet.

        Args:
            paths: Where the own ledger node's files are; the log and the evidence lie beside them.
            founding: Names chain, coordinator and this hospital.
            identity: Signs.
            network: The coordinator.
            egress: Notes each co-signature that leaves.
            clock: Unix seconds, signed with the checkpoint.
        """
        self._folder = paths.ledger
        self._witness = _witness(self._folder, founding, identity)
        self._origin = checkpoint.network_origin(_genesis(founding))
        self._coordinator = founding.coordinator.identity
        self._identity = identity
        self._network = network
        self._egress = egress
        self._clock = clock
        self._shown = b""
        self._done: str | None = None

    def require(self) -> None:
        """Require that no checkpoint of the coordinator contradicted what was executed here.

        Raises:
            EvidenceError: TW3640, one did and lies in the folder, also after a restart.
        """
        for path in self._folder.glob(f"{_EVIDENCE}*"):
            raise EvidenceError(
                "the coordinator signed a checkpoint that is not what this ledger node executed",
                code="TW3640",
                at=str(path),
                help="nothing is co-signed and nobody is used meanwhile; compare the file with"
                " the other hospitals, and move it away once it is explained",
            )

    def tick(self, own: Rpc) -> None:
        """Co-sign the coordinator's newest checkpoint, if it is new and the own node has its block.

        Dying between signing and sending signs the same text again; both signatures hold.

        Args:
            own: This hospital's own ledger node.

        Raises:
            CoordinatorUnreachable: TW6001.
            EvidenceError: TW3640 as in `require`; TW3604, not signed by the coordinator.
            UsageError: TW3603, what came is no checkpoint of this network.
            LedgerError: TW5001, TW3704.
        """
        self.require()
        data = self._exchange(b"")
        if not data or data == self._shown:
            return
        note, stated = checkpoint.read(data, origin=self._origin, signer=self._coordinator)
        if note.text != self._done:
            if not _reaches(own, stated):
                return  # asked again at the next tick
            with _one_at_a_time(self._folder):
                if self._witness.signed_newer(stated):
                    self._done = note.text  # an older one: the newer that was signed covers it
                    return
                signed = self._sign(data, stated, own)
            self._egress.let_out("ledger", "co-signature", to="coordinator", size=len(signed))
            data = self._exchange(signed)
            self._done = note.text
        self._shown = data

    def _sign(self, data: bytes, stated: Checkpoint, own: Rpc) -> bytes:
        now = int(self._clock.now())
        try:
            return self._witness.cosign(data, rpc=own, identity=self._identity, now=now).encode()
        except EvidenceError as error:
            if error.code != CONTRADICTED:
                raise
            name = f"{_EVIDENCE}{checkpoint.file_name(stated)}"
            write_atomic(self._folder / name, data, mode=0o600)
            self.require()
            raise

    def _exchange(self, signed: bytes) -> bytes:
        try:
            answer: Blob = self._network.Checkpoint(Blob(data=signed), timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            raise refusal_of(error, otherwise=coordinator_silent()) from error
        return bytes(answer.data)


def cosign(folder: Path, data: bytes) -> bytes:
    """The checkpoint with this hospital's co-signature; the node must be up, with ``witness``.

    Raises:
        UsageError: TW3566 the node is not running, TW3603 not a checkpoint of this network.
        EvidenceError: TW3604 not signed by the coordinator, TW3605 not what this hospital's own
            ledger node gives: keep the file.
        LedgerError: TW5001, TW3704.
    """
    paths = NodePaths(folder)
    founding, url = membership.load_founding(folder), own_url(paths.ledger)
    audit_log.commanded(folder, "cosign")
    identity, now = Organisation(folder).identity(), int(SystemClock().now())
    witness = _witness(paths.ledger, founding, identity)
    with closing(Rpc(url)) as rpc, _one_at_a_time(paths.ledger):
        return witness.cosign(data, rpc=rpc, identity=identity, now=now).encode()


def _witness(folder: Path, founding: Founding, identity: Identity) -> LogWitness:
    me = next(one for one in founding.members if one.identity == identity.public)
    return LogWitness(
        folder,
        org=me.org,
        genesis=_genesis(founding),
        contracts=contracts_of(founding),
        coordinator=founding.coordinator.identity,
    )


def _genesis(founding: Founding) -> bytes:
    return bytes.fromhex(str(founding.chain["genesis_hash"]))


def _reaches(own: Rpc, stated: Checkpoint) -> bool:
    """Whether the own node has executed the block by now; a checkpoint without one is refused."""
    return stated.block is None or int(own.call("eth_blockNumber"), 16) >= stated.block[0]


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """The log's files have one writer: this thread or a command, of whatever process."""
    with (folder / "network.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
