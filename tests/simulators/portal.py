"""The patients' site as they see it: a desk on a socket, a ledger in memory, TLS in front."""

import threading
from contextlib import contextmanager

import uvicorn
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from consent.portal.codes import spelled
from consent.portal.running import running
from consent.portal.site import KEYS
from tests.simulators.consent.desk import RunningDesk
from tests.simulators.consent.world import HOSPITAL, Hospital
from twinward.demo.stage import free_ports


def opened(sealed, *, passphrase, secret):
    """The key that the page sealed, opened by another program; InvalidTag if it does not open."""
    kdf = sealed["kdf"]
    wrapping = Argon2id(
        salt=bytes.fromhex(kdf["salt"]), length=32, iterations=kdf["t"], lanes=kdf["p"],
        memory_cost=kdf["m"], secret=secret, ad=b"twinward/sealed-key/v1",
    ).derive(passphrase.encode())  # fmt: skip
    iv, box, subject = (bytes.fromhex(sealed[name]) for name in ("iv", "box", "subject"))
    return AESGCM(wrapping).decrypt(iv, box, subject)


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
def portal(folder, *, patients=40, hospital=None):
    """A site that is up; everything is gone at the end."""
    hospital = hospital or Hospital(folder / "hospital", patients=patients)
    desk = RunningDesk(hospital, folder, changed=hospital.push)
    port = free_ports(1)
    origin = f"https://localhost:{port}"
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
        server = uvicorn.Server(
            uvicorn.Config(
                app, host="127.0.0.1", port=port, log_config=None, access_log=False, ws="none",
                ssl_certfile=str(desk.tls.certificate), ssl_keyfile=str(desk.tls.key),
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
