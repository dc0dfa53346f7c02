"""One hospital's folder as after weeks of use, with ledger and coordinator to ask; no daemon.

The ledger is the real embedded one, in this process. The coordinator is a gRPC server that signs
tips with the coordinator's key, by a clock that a test can set wrong.
"""

import dataclasses
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from consent.study import KIND as STUDY_KIND
from hospital_node import approvals, policy_file
from hospital_node.audit_log import NodeAudit
from hospital_node.consents import open_vault
from hospital_node.data import records, virtual
from hospital_node.doctor.checks import CHECKS
from hospital_node.doctor.site import Site
from hospital_node.enrolment import consent_domain
from hospital_node.paths import NodePaths
from hospital_node.policy_terms import SitePolicy, StudyPolicy
from hospital_node.privacy import tombstones
from hospital_node.privacy.book import BudgetBook
from hospital_node.privacy.fence import Fence
from hospital_node.privacy.lifetime import Lifetime
from hospital_node.settings import FILE, NodeSettings, write
from ledger.chain import Addresses, Chain, Kind, LedgerMember
from ledger.embedded.genesis import Genesis
from ledger.mirror import Mirror
from ledger.rpc import Rpc
from server import studies
from tests.simulators.founding import Paper
from tests.simulators.ledger.network import RunningNode
from twinward import canonical
from twinward.clock import SystemClock
from twinward.demo.stage import free_ports
from twinward.doctor.findings import examine
from twinward.doctor.machine import ThisMachine
from twinward.founding import KIND, Founding
from twinward.ids import RunId
from twinward.rpc.messages_pb2 import Blob
from twinward.rpc.messages_pb2_grpc import NetworkServicer, add_NetworkServicer_to_server
from twinward.signing import Document

STUDY = "heart-risk"
ORG = "harbour"
RUN = RunId("5a" * 32)


class Tips(NetworkServicer):
    """Answers `Tip` as the coordinator does; ``ahead`` seconds wrong."""

    def __init__(self, identity, genesis, tip):
        self._identity, self._genesis, self._tip = identity, genesis, tip
        self.ahead = 0.0

    def Tip(self, request, context):
        statement = self._tip().statement(genesis=self._genesis, now=time.time() + self.ahead)
        return Blob(data=statement.signed_by(self._identity).encode())


class World:
    """A founded network on this machine; ``Hospital(world, folder)`` is a copy of its node."""

    def __init__(self, folder):
        now = time.time()
        self.paper = Paper(folder, now=now)
        self.identity = self.paper.home.identity()
        first = free_ports(4)
        self.network_port, self.node_ports = first, (first + 2, first + 3)
        draft = Document.decode(self.paper.draft().read_bytes(), kind=KIND)
        genesis = Genesis.from_json(canonical.encode(draft.payload["chain"]["genesis"]))
        (folder / "ledger").mkdir()
        self.ledger = RunningNode(folder / "ledger", genesis)
        self.ledger.clock.at = now
        self.founding = self.signed(
            draft.payload,
            network=f"127.0.0.1:{self.network_port}",
            flower=f"127.0.0.1:{self.network_port + 1}",
            ledger=self.ledger.url,
        )
        self.chain = self._chain(self.paper.home)
        members = [LedgerMember.of(member) for member in self.founding.founders]
        self.chain.deploy(founding_digest=self.founding.digest, members=members)
        self.tips = Tips(self.identity, self.chain.genesis(), self.chain.tip)
        self.server = grpc.server(ThreadPoolExecutor(2))
        add_NetworkServicer_to_server(self.tips, self.server)
        credentials = self.paper.home.tls.server_credentials(mutual=True)
        self.server.add_secure_port(f"127.0.0.1:{self.network_port}", credentials)
        self.server.start()
        self.home = self._live(now)

    def close(self):
        self.server.stop(0).wait()
        self.chain.close()
        self.ledger.stop()

    def signed(self, payload, **endpoints):
        """A founding file with these addresses, signed by all."""
        addresses = {**payload["endpoints"], **endpoints}
        document = Document(KIND, {**payload, "endpoints": addresses})
        for organisation in (self.paper.home, *self.paper.members.values()):
            document = document.signed_by(organisation.identity())
        return Founding.decode(document.encode())

    def _chain(self, organisation):
        return Chain.connect(
            self.founding.endpoints["ledger"],
            genesis=bytes.fromhex(str(self.founding.chain["genesis_hash"])),
            contracts=Addresses.from_json(self.founding.chain["contracts"]),
            key=organisation.ledger_key(),
        )

    def _live(self, now):
        """Weeks of use, by the real parts: keys, plan, letters, a run in book and ledger."""
        home = self.paper.members[ORG]
        folder, clock = home.folder, SystemClock()
        home.founding_file.write_bytes(self.founding.document.encode())
        home.tls.ca.write_text(self.founding.ca_certificate)
        home.tls.certificate.write_text(self.founding.member(ORG).certificate)
        data = virtual.write(folder / "data", seed=1)[ORG]
        data.chmod(0o640)
        desk, flower = self.node_ports
        write(folder / FILE, NodeSettings(org=ORG, data=data, desk_port=desk, flower_port=flower))
        agreed = StudyPolicy(study=STUDY, models=("cardiac_risk/1",), purposes=("heart-research",))
        policy_file.write(folder, SitePolicy(studies=(agreed,)))
        study, plan = studies.make(
            studies.template(STUDY), name=STUDY, founding=self.founding, epsilon=1.0,
            slot_seconds=0.02, expected_patients=None, now=now,
        )  # fmt: skip
        files = [
            document.signed_by(self.identity).encode()
            for document in (Document(STUDY_KIND, study.to_json()), plan.to_document())
        ]
        approvals.approve(
            folder, *files, founding=self.founding, policy=policy_file.read(folder).policy,
            org=ORG, now=now,
        )  # fmt: skip
        paths, identity = NodePaths(folder), home.identity()
        patients = records.read(data, hospital=ORG).records
        vault = open_vault(folder)
        vault.enrol(study.id32, patients[:5], valid_until=int(now) + 86_400)
        vault.store.close()
        self.study, self.patients = study.id32, patients
        chain = self._chain(home)
        digest = bytes([7]) * 32
        self.chain.record(digest, Kind.PLAN)
        chain.approve(digest)
        chain.state_cap(10**8)
        book = BudgetBook(paths.book)
        Fence.take(book, chain)
        book.close()
        shutil.copy(paths.book, folder / "book.before")
        book = BudgetBook(paths.book)
        micro = book.reserve(RUN, plan_digest=digest, attempts=2, mu2_per_attempt=0.1)
        chain.reserve(bytes.fromhex(RUN), plan=digest, micro_mu2=micro)
        book.close_run(RUN)
        book.close()
        chain.close()
        Lifetime(
            paths.accounts, key=identity.derive(tombstones.PURPOSE), records=patients,
            limit_mu2=1.0,
        ).close()  # fmt: skip
        audit = NodeAudit.open(
            folder, org=ORG, founding=self.founding, identity=identity, clock=clock
        )
        audit.did("node-started")
        audit.close()
        domain, rpc = consent_domain(self.founding), Rpc(self.founding.endpoints["ledger"])
        mirror = Mirror(paths.mirror, rpc=rpc, genesis=domain.genesis, contract=domain.contract)
        mirror.sync()
        mirror.close()
        rpc.close()
        return folder


@dataclasses.dataclass
class Machine(ThisMachine):
    """This machine, with something changed."""

    free: int = 50 * 2**30
    memory: int = 8 * 2**30
    cpus: int = 4
    descriptors: int = 4096
    unknown: tuple = ()

    def free_bytes(self, path):
        return self.free

    def available_memory(self):
        return self.memory

    def processors(self):
        return self.cpus

    def most_files(self):
        return self.descriptors

    def addresses(self, host):
        if host in self.unknown:
            raise OSError(-2, "Name or service not known")
        return super().addresses(host)


class Hospital:
    """A copy of the node's folder that a test may damage, and the doctor over it."""

    def __init__(self, world, folder):
        self.world = world
        self.folder = Path(shutil.copytree(world.home, folder / "node"))
        (self.folder / "state").chmod(0o700)
        (self.folder / "secrets").chmod(0o700)
        self.site = Site(self.folder, environment={}, machine=Machine(), timeout=2.0)
        path = self.folder / FILE
        path.write_text(
            path.read_text().replace(str(world.home / "data"), str(self.folder / "data"))
        )

    @property
    def data(self):
        return self.folder / "data" / f"processed.{ORG}.data"

    def state(self, name):
        return self.folder / "state" / name

    def edit(self, file, old, new):
        path = self.folder / file
        text = path.read_text()
        assert old in text, text
        path.write_text(text.replace(old, new, 1))

    def examine(self, *names):
        """Findings of these checks and of those that they need, by name."""
        wanted, known = set(names), {check.name: check for check in CHECKS}
        while more := {need for name in wanted for need in known[name].needs} - wanted:
            wanted |= more
        chosen = [check for check in CHECKS if not names or check.name in wanted]
        return {found.check: found for found in examine(self.site, chosen)}
