"""The patients' site as they see it: a desk on a socket, a ledger in memory, TLS in front."""

import re
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import httpx
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

ORIGIN = "https://hospital.example"


@contextmanager
def running_desk(hospital, folder):
    """The hospital's desk on a socket; it takes what patients say to the ledger at once."""
    desk = RunningDesk(hospital, folder, changed=hospital.push)
    try:
        yield desk
    finally:
        desk.close()


@contextmanager
def site_before(desk, folder, *, origin=ORIGIN, drafts=True):
    """The site of a desk's hospital, as an application in this process; its state in `folder`."""
    hospital, state = desk.hospital, folder / "portal"
    state.mkdir(exist_ok=True)
    with running(
        state, origin=origin, hospital=HOSPITAL, domain=hospital.domain,
        desk=f"localhost:{desk.port}", ca=desk.tls.ca.read_bytes(), clock=hospital.clock,
        drafts=drafts,
    ) as app:  # fmt: skip
        yield app


def post(visitor, path, page, **fields):
    """Send the form of a page as a browser does."""
    token = re.search(r'name="csrf" value="([^"]+)"', visitor.get(page).text)[1]
    return visitor.post(path, data={"csrf": token, **fields}, headers={"origin": visitor.origin})


def comes_in(visitor, code):
    return post(visitor, "/sign-in", "/sign-in", code=code)


def says_yes(visitor, place=0, **fields):
    return post(visitor, f"/studies/{place}/yes", f"/studies/{place}/stop", **fields)


def stops(visitor, place=0):
    return post(visitor, f"/studies/{place}/stop", f"/studies/{place}/stop")


def used(hospital, number):
    grades = ["signed-at-hospital", "signed-on-device"]
    return bool(hospital.cohort(grades=grades).mask()[number])


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
    port = free_ports(1)
    origin = f"http{'s' * tls}://localhost:{port}"
    with (
        running_desk(hospital, folder) as desk,
        site_before(desk, folder, origin=origin) as app,
    ):
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
            yield RunningPortal(hospital, desk, origin, folder / "portal" / KEYS)
        finally:
            server.should_exit = True
            thread.join()


def browser(network, name, origin):
    """A browser of a patient of this hospital; it trusts the network's authority alone."""
    trust = ssl.create_default_context(cafile=network.folder / name / "ca.pem")
    return httpx.Client(base_url=origin, verify=trust, trust_env=False, timeout=30)


@contextmanager
def patients_site(network, name):
    """The patients' site of a node that is up, seen by the `browser` of one of them."""
    folder, port = network.folder / name, free_ports(1)
    words = ("portal", "up", folder, "--port", port, "--end-with-stdin")
    process = subprocess.Popen(
        [sys.executable, "-m", "twinward", *map(str, words)],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert "portal is up" in process.stderr.readline()
        with browser(network, name, f"https://127.0.0.1:{port}") as client:
            yield client
        process.stdin.close()
        process.stderr.close()
        process.wait(30)


def sent(visitor, path, *, on, **fields):
    """Send the form of a page as a browser does, and follow where it leads."""
    csrf = re.search(r'name="csrf" value="(\w+)"', visitor.get(on).text)[1]
    origin = str(visitor.base_url).rstrip("/")
    answer = visitor.post(
        path, data={"csrf": csrf, **fields}, headers={"origin": origin}, follow_redirects=True
    )
    assert answer.status_code == 200, answer.text
    return answer
