"""A ledger of its own for a test: the real node on a free port, members, contracts, patients."""

import hashlib
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

from eth_account import Account
from eth_account.messages import encode_typed_data

from ledger.account import address_of, new_key
from ledger.chain import Addresses, Chain, LedgerMember, Role
from ledger.embedded.engine import Engine
from ledger.embedded.genesis import Genesis
from ledger.embedded.methods import Methods
from ledger.embedded.node import Node
from ledger.embedded.server import RpcServer
from ledger.embedded.store import Store
from twinward.clock import FixedClock

START = 1_790_000_000
DAY = 86_400
EXPIRY = (START // DAY + 30) * DAY
CHAIN_ID = 7946
CAP = 1_000_000
FOUNDING = b"\x0f" * 32

GRANT = [
    ("network", "bytes32"),
    ("study", "bytes32"),
    ("subject", "address"),
    ("purposes", "uint128"),
    ("purposeTable", "bytes32"),
    ("scope", "bytes32"),
    ("termsShown", "bytes32"),
    ("notBefore", "uint64"),
    ("expiry", "uint64"),
    ("nonce", "uint32"),
    ("submitBy", "uint64"),
]
WITHDRAWAL = [
    ("network", "bytes32"),
    ("study", "bytes32"),
    ("subject", "address"),
    ("nonce", "uint32"),
    ("signedAt", "uint64"),
]


@dataclass
class RunningNode:
    """The embedded node in this process, with a clock that stands still."""

    folder: Path
    genesis: Genesis = field(
        default_factory=lambda: Genesis(chain_id=CHAIN_ID, timestamp=START, extra=os.urandom(32))
    )
    clock: FixedClock = field(default_factory=lambda: FixedClock(START + 10))

    def __post_init__(self):
        self.engine = Engine(Store(self.folder / "chain.sqlite"), self.genesis)
        self.node = Node(self.engine, clock=self.clock)
        self.server = RpcServer(("127.0.0.1", 0), Methods(self.node))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.node.close()
        self._thread.join()


class LedgerNetwork:
    """A coordinator and hospitals with the contracts deployed, on any Ethereum JSON-RPC."""

    def __init__(self, url, *, genesis, chain_id=CHAIN_ID, hospitals=4, keys=None):
        self.url, self.genesis, self.chain_id = url, genesis, chain_id
        self.keys = keys or [new_key() for _ in range(hospitals + 1)]
        self.contracts = Addresses.of(address_of(self.keys[0]))
        self.members = [
            LedgerMember(
                self.identity_of(n, key),
                address_of(key),
                hashlib.sha256(b"keys" + key).digest(),
                Role.HOSPITAL if n else Role.COORDINATOR,
            )
            for n, key in enumerate(self.keys)
        ]
        self._open = []
        self.coordinator, *self.hospitals = (self.connect(key) for key in self.keys)
        self.coordinator.deploy(founding_digest=FOUNDING, members=self.members)
        for hospital in self.hospitals:
            hospital.state_cap(CAP)

    def connect(self, key=None, *, url=None, timeout=10.0):
        chain = Chain.connect(
            url or self.url,
            genesis=self.genesis,
            contracts=self.contracts,
            key=key,
            timeout=timeout,
        )
        self._open.append(chain)
        return chain

    def identity_of(self, number, key):
        """Fingerprint of a member's identity; a test with real identities says its own."""
        return hashlib.sha256(b"id" + key).digest()

    @property
    def consent(self):
        return bytes.fromhex(self.contracts.consent[2:])

    def close(self):
        for chain in self._open:
            chain.close()


class Patient:
    """A subject's key, signing through eth_account: not the code that is tested."""

    def __init__(self, network, *, study=b"\x5d" * 32, key=None):
        self.network, self.study = network, study
        self.key = key or new_key()
        self.subject = bytes.fromhex(address_of(self.key)[2:])

    def grant(self, **changes):
        values = {
            "network": self.network.genesis,
            "study": self.study,
            "subject": self.subject,
            "purposes": 5,
            "purposeTable": b"\x01" * 32,
            "scope": b"\x02" * 32,
            "termsShown": b"\x03" * 32,
            "notBefore": START,
            "expiry": EXPIRY,
            "nonce": 0,
            "submitBy": START + 10 * DAY,
            **changes,
        }
        return tuple(values[name] for name, _ in GRANT)

    def withdrawal(self, **changes):
        values = {
            "network": self.network.genesis,
            "study": self.study,
            "subject": self.subject,
            "nonce": 1,
            "signedAt": START,
            **changes,
        }
        return tuple(values[name] for name, _ in WITHDRAWAL)

    def sign(self, values, **domain):
        signed = Account.sign_message(self.typed(values, **domain), self.key)
        return bytes(signed.signature)

    def digest(self, values, **domain):
        return bytes(Account.sign_message(self.typed(values, **domain), self.key).message_hash)

    def typed(self, values, **domain):
        name, fields = ("Grant", GRANT) if len(values) == len(GRANT) else ("Withdrawal", WITHDRAWAL)
        everything = {
            "name": "Twinward Consent",
            "version": "1",
            "chainId": self.network.chain_id,
            "verifyingContract": self.network.contracts.consent,
            "salt": self.network.genesis,
            **domain,
        }
        return encode_typed_data(
            everything,
            {name: [{"name": field, "type": kind} for field, kind in fields]},
            {
                field: f"0x{value.hex()}" if kind == "address" else value
                for (field, kind), value in zip(fields, values, strict=True)
            },
        )

    def signed_grant(self, **changes):
        values = self.grant(**changes)
        return values, self.sign(values)

    def signed_withdrawal(self, **changes):
        values = self.withdrawal(**changes)
        return values, self.sign(values)
