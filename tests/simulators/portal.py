"""The patients' site as they see it: a desk on a socket, a ledger in memory, TLS in front."""

import threading
from contextlib import contextmanager
from types import SimpleNamespace

import uvicorn
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from consent.portal.codes import spelled
from consent.portal.running import running
from consent.portal.sealed_keys import KEYS
from hospital_node import patient_view
from hospital_node.audit_log import NodeAudit
from hospital_node.privacy.lifetime import Lifetime
from ledger.audit.log import AuditLog
from tests.simulators.consent.desk import RunningDesk
from tests.simulators.consent.world import HOSPITAL, Hospital
from tests.simulators.finished_run import found
from twinward.demo.stage import free_ports
from twinward.signing import Identity


def opened(sealed, *, passphrase, secret):
    """The key that the page sealed, opened by another program; InvalidTag if it does not open."""
    kdf = sealed["kdf"]
    wrapping = Argon2id(
        salt=bytes.fromhex(kdf["salt"]), length=32, iterations=kdf["t"], lanes=kdf["p"],
        memory_cost=kdf["m"], secret=secret, ad=b"twinward/sealed-key/v1",
    ).derive(passphrase.encode())  # fmt: skip
    iv, box, subject = (bytes.fromhex(sealed[name]) for name in ("iv", "box", "subject"))
    return AESGCM(wrapping).decrypt(iv, box, subject)


@contextmanager
def keeps_a_book(hospital, folder):
    """The hospital's desk answers from a real audit log and real accounts while this lasts."""
    names = ("coordinator", "cleveland", "south", "east")
    identities = {name: Identity.generate() for name in names}
    founding = found(identities)
    log = AuditLog(
        folder,
        org="cleveland",
        genesis=bytes.fromhex(founding.chain["genesis_hash"]),
        identity=identities["cleveland"],
        clock=hospital.clock,
    )
    audit = NodeAudit(log, clock=hospital.clock)
    accounts = Lifetime(folder / "spend.db", key=b"k" * 32, records=hospital.records, limit_mu2=1.0)
    node = SimpleNamespace(
        audit=audit, founding=founding, lifetime=accounts,
        patients=SimpleNamespace(records=hospital.records),
        rows={record: row for row, record in enumerate(hospital.records)},
    )  # fmt: skip
    hospital.uses = lambda record, check: patient_view.uses(node, record, check=check)
    hospital.withdrew, hospital.spoke = audit.withdrew, audit.spoke
    hospital.audit, hospital.accounts = audit, accounts
    yield hospital
    accounts.close()
    audit.close()


class RunningPortal:
    """One hospital with letters to hand out; ``push`` is the ledger taking what waits."""

    def __init__(self, hospital, desk, origin, keys):
        self.keys = keys
        self.hospital, self.desk, self.origin = hospital, desk, origin
        self.codes = {}

    def letter(self, number):
        """The letter's code as it is printed."""
        self.codes[number] = self.hospital.letter(number).code
        return spelled(self.codes[number])

    def newest(self, number):
        return self.hospital.vault.newest(self.hospital.study.id32, self.hospital.records[number])

    def is_used(self, number, grades=("signed-at-hospital", "signed-on-device")):
        return bool(self.hospital.cohort(grades=grades).mask()[number])


@contextmanager
def portal(folder, *, patients=40, hospital=None, tls=True):
    """A site that is up; everything is gone at the end.

    Without ``tls`` for what browsers do not do on a page whose certificate they do not know.
    """
    hospital = hospital or Hospital(folder / "hospital", patients=patients)
    desk = RunningDesk(hospital, folder, changed=hospital.push)
    port = free_ports(1)
    origin = f"http{'s' * tls}://localhost:{port}"
    state = folder / "portal"
    state.mkdir()
    with running(
        state,
        origin=origin,
        hospital=HOSPITAL,
        domain=hospital.domain,
        desk=f"localhost:{desk.port}",
        ca=desk.tls.ca.read_bytes(),
        clock=hospital.clock,
    ) as app:
        files = {"ssl_certfile": str(desk.tls.certificate), "ssl_keyfile": str(desk.tls.key)}
        server = uvicorn.Server(
            uvicorn.Config(
                app, host="127.0.0.1", port=port, log_config=None, access_log=False, ws="none",
                **(files if tls else {}),
            )
        )  # fmt: skip
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            thread.join(0.02)
            assert thread.is_alive()
        try:
            yield RunningPortal(hospital, desk, origin, state / KEYS)
        finally:
            server.should_exit = True
            thread.join()
            desk.close()
