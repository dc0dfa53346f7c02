"""The founding of a network on the coordinator's disk: begin with requests, end with signatures."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.chain import Addresses
from ledger.embedded.genesis import Genesis
from ledger.endpoint import TOKEN_FILE, Endpoint
from server import admission, ca
from server.settings import FILE, ServerSettings
from twinward.admission import with_joined
from twinward.canonical import tagged_hash
from twinward.errors import LedgerError, UsageError
from twinward.files import write_atomic
from twinward.founding import KIND, Founding
from twinward.ids import OrgName
from twinward.organisation import Organisation
from twinward.reach import LEDGER_PATH
from twinward.settings import load
from twinward.signing import Document

CHAIN_ID = 7_946


@dataclass(frozen=True, slots=True)
class OutsideLedger:
    """A ledger that others keep, in the place of the embedded node.

    Attributes:
        url: Its JSON-RPC, https unless it is on this machine.
        ca: The certificate authority that its address must chain to, PEM; empty for the system's.
        chain_id: What every transaction is signed for.
        genesis: Hash of its first block, 32 bytes.
    """

    url: str
    ca: str
    chain_id: int
    genesis: bytes

    @classmethod
    def ask(cls, url: str, *, ca: Path | None, chain_id: int, folder: Path) -> OutsideLedger:
        """Look at it once, with the token in the folder's secrets if there is one.

        Raises:
            LedgerError: TW3503 no TLS to another machine, TW3504, TW3505 not let in, TW3507 another
                chain id.
            LedgerUnreachable: TW5001.
        """
        token = Organisation(folder).secrets / TOKEN_FILE
        endpoint = Endpoint.by_files(url, ca=ca, token=token if token.exists() else None)
        with closing(endpoint.rpc()) as rpc:
            shown = int(rpc.call("eth_chainId"), 16)
            first = rpc.call("eth_getBlockByNumber", "0x0", False)
        if shown != chain_id:
            raise LedgerError(
                f"the ledger at this address has chain id {shown}, not {chain_id}",
                code="TW3507",
                at=url,
                help="check the address and --chain-id with whoever keeps the ledger",
            )
        pinned = "" if ca is None else ca.read_text(encoding="utf-8")
        return cls(url, pinned, chain_id, bytes.fromhex(first["hash"][2:]))


def begin(
    folder: Path,
    requests: Sequence[tuple[bytes, str]],
    *,
    now: float,
    outside: OutsideLedger | None = None,
) -> Path:
    """Issue certificates, fix the ledger's first block, sign the draft. Safe to repeat.

    Args:
        folder: The coordinator's.
        requests: The hospitals', and where each came from.
        now: Unix seconds.
        outside: The ledger, if it is not to be the coordinator's embedded node.

    Returns:
        The draft, signed by the coordinator alone.

    Raises:
        UsageError: TW1031 fewer than three hospitals, TW1033 already founded.
    """
    settings = load(ServerSettings, folder / FILE)
    organisation = Organisation(folder)
    if organisation.founding_file.exists():
        raise UsageError(
            "this network has been founded already",
            code="TW1033",
            at=str(organisation.founding_file),
            help="another hospital joins with `twinward server invite` and `twinward node join`",
        )
    own_file = organisation.request_file(settings.org)
    own = admission.JoinRequest.decode(own_file.read_bytes(), at=str(own_file))
    joining = [admission.JoinRequest.decode(data, at=at) for data, at in requests]
    # A shell pattern over all folders also names our own request: it counts once.
    everyone = [own, *(request for request in joining if request.keys != own.keys)]
    certificates: dict[OrgName, str] = {
        request.org: ca.issue(
            request.csr,
            org=request.org,
            hosts=("localhost", settings.host, "127.0.0.1"),
            key_file=organisation.secrets / "ca.key",
            ca_file=organisation.tls.ca,
            now=now,
        )
        for request in everyone
    }
    write_atomic(organisation.tls.certificate, certificates[own.org].encode())
    draft = admission.draft(
        network=settings.network,
        requests=everyone,
        certificates=certificates,
        chain=(
            _chain(own.ledger_account, network=settings.network, now=int(now))
            if outside is None
            else _outside(own.ledger_account, outside)
        ),
        endpoints=_endpoints(settings) | ({} if outside is None else {"ledger": outside.url}),
        ca_certificate=organisation.tls.ca.read_text(encoding="utf-8"),
    ).signed_by(organisation.identity())
    path = folder / "founding.draft.json"
    write_atomic(path, draft.encode())
    return path


def _endpoints(settings: ServerSettings) -> dict[str, str]:
    """Where members find the coordinator: one front door, or a port for each service."""
    if settings.front_door:
        door = settings.front_door
        return {"network": door, "flower": door, "ledger": f"https://{door}{LEDGER_PATH}"}
    return {
        "network": f"{settings.host}:{settings.network_port}",
        "flower": f"{settings.host}:{settings.flower_port}",
        "ledger": f"https://{settings.host}:{settings.ledger_port}",
    }


def complete(folder: Path, copies: Sequence[bytes]) -> Path:
    """Gather every member's signature; only a complete file gets its final name.

    Raises:
        IdentityError: TW2004 a signature is missing, TW2012 a copy is of another file.
    """
    organisation = Organisation(folder)
    draft_file = folder / "founding.draft.json"
    if not draft_file.exists():
        raise UsageError(
            "there is no founding file to complete",
            code="TW1034",
            at=str(draft_file),
            help="run `twinward server found` with the hospitals' requests first",
        )
    mine = Document.decode(draft_file.read_bytes(), kind=KIND, at=str(draft_file))
    signed = [Document.decode(copy, kind=KIND, at="signed copy") for copy in copies]
    merged = admission.merge(mine, signed)
    write_atomic(organisation.founding_file, merged.encode())
    return organisation.founding_file


def load_founding(folder: Path) -> Founding:
    """The complete founding file of this folder, with everybody who joined since.

    Raises:
        UsageError: TW1035, there is none yet.
    """
    path = Organisation(folder).founding_file
    if not path.exists():
        raise UsageError(
            "this network has not been founded yet",
            code="TW1035",
            at=str(path),
            help="run `twinward server found` until every hospital has signed",
        )
    return with_joined(Founding.decode(path.read_bytes(), at=str(path)), folder)


def _chain(coordinator_account: str, *, network: str, now: int) -> dict[str, Any]:
    """The ledger's first block and where the contracts will stand, fixed before either exists."""
    genesis = Genesis(
        chain_id=CHAIN_ID,
        timestamp=now,
        extra=tagged_hash("network/v1", network.encode(), os.urandom(32)),
    )
    return {
        "chain_id": CHAIN_ID,
        "genesis": json.loads(genesis.to_json()),
        "genesis_hash": genesis.hash().hex(),
        "contracts": Addresses.of(coordinator_account).to_json(),
    }


def _outside(coordinator_account: str, ledger: OutsideLedger) -> dict[str, Any]:
    """The same of a ledger that is there already; the deploying account must be new to it."""
    return {
        "chain_id": ledger.chain_id,
        "genesis_hash": ledger.genesis.hex(),
        "ledger_ca": ledger.ca,
        "contracts": Addresses.of(coordinator_account).to_json(),
    }
