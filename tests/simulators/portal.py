"""The patients' site as they see it: a desk on a socket, a ledger in memory, TLS in front."""

import threading
from contextlib import contextmanager

import uvicorn

from consent.portal.codes import spelled
from consent.portal.running import running
from tests.simulators.consent.desk import RunningDesk
from tests.simulators.consent.world import HOSPITAL, Hospital
from twinward.demo.stage import free_ports


class RunningPortal:
    """One hospital with letters to hand out; ``push`` is the ledger taking what waits."""

    def __init__(self, hospital, desk, origin):
        self.hospital, self.desk, self.origin = hospital, desk, origin

    def letter(self, number):
        """The letter's code as it is printed."""
        return spelled(self.hospital.letter(number).code)

    def newest(self, number):
        return self.hospital.vault.newest(self.hospital.study.id32, self.hospital.records[number])

    def is_used(self, number, grades=("signed-at-hospital", "signed-on-device")):
        return bool(self.hospital.cohort(grades=grades).mask()[number])


@contextmanager
def portal(folder, *, patients=40):
    """A site that is up; everything is gone at the end."""
    hospital = Hospital(folder / "hospital", patients=patients)
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
            yield RunningPortal(hospital, desk, origin)
        finally:
            server.should_exit = True
            thread.join()
            desk.close()
