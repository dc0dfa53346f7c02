"""A whole network in a folder: keys, certificates, a real plan, and the processes on it."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from models.cardiac_risk import recipe
from tests.simulators.secsum.tls import Authority
from twinward.ids import OrgName, StudyId
from twinward.signing import Identity

ROOT = Path(__file__).parents[3]


class Network:
    """Members of one run; nodes are started as processes and killed at the end."""

    def __init__(self, folder, *, members=4, patients=230, patience=5.0, **changed):
        self.folder, self.patients, self.patience = folder, patients, patience
        self.identities = [Identity.generate() for _ in range(members)]
        self.coordinator = Identity.generate()
        self.run = os.urandom(32)
        self.plan = dataclasses.replace(
            recipe.plan(
                network="ab" * 32,
                study=StudyId("heart-risk"),
                sites=[OrgName(f"hospital-{i}") for i in range(members)],
                divisor=500,
                purpose="research",
                grades=["signed-on-your-device"],
            ),
            **changed,
        )
        self.authority = Authority()
        self.processes = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.server = {
            "address": self.address,
            "ca": self._write("ca.pem", self.authority.pem),
            "plan": self._write("plan.json", self.plan.to_document().encode()),
            "run": self.run.hex(),
            "members": [identity.public.raw.hex() for identity in self.identities],
            "transcript": str(folder / "transcript.sqlite"),
            "identity": str(folder / "coordinator.key"),
        }
        key, certificate = self.authority.issue("server")
        self.server["server_key"] = self._write("server.key", key)
        self.server["server_cert"] = self._write("server.pem", certificate)
        self.coordinator.save(folder / "coordinator.key")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.communicate()

    def book(self, index):
        return self.folder / f"node-{index}.sqlite"

    def config(self, index, *, authority=None, **extra):
        """Everything that one node knows."""
        identity = self.identities[index]
        key, certificate = (authority or self.authority).issue(identity.public.fingerprint)
        path = self.folder / f"identity-{index}.key"
        if not path.exists():
            identity.save(path)
        return {
            "address": self.address,
            "ca": self.server["ca"],
            "plan": self.server["plan"],
            "run": self.run.hex(),
            "members": self.server["members"],
            "coordinator": self.coordinator.public.raw.hex(),
            "identity": str(path),
            "tls_key": self._write(f"tls-{index}.key", key),
            "certificate": self._write(f"tls-{index}.pem", certificate),
            "book": str(self.book(index)),
            "patients": self.patients,
            "patience": self.patience,
            "seed": index,
            **extra,
        }

    def start_node(self, index, *, program="tests.simulators.secsum.node", **extra):
        config = self.config(index, **extra)
        return self._start(program, f"node-{index}", config)

    def write_config(self, index, **extra):
        """Where a process finds what this node knows."""
        return self._write(f"node-{index}.json", json.dumps(self.config(index, **extra)).encode())

    def start_proxy(self, *, seconds):
        """An address at which the coordinator is this far away, one way."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.simulators.secsum.proxy", self.address, str(seconds)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        self.processes.append(process)
        return f"127.0.0.1:{int(process.stdout.readline())}"

    def start_coordinator(self, *, crash=None):
        config = {**self.server, "crash": crash}
        return self._start("tests.simulators.secsum.coordinator", "coordinator", config)

    def _start(self, program, name, config):
        path = self._write(f"{name}.json", json.dumps(config).encode())
        process = subprocess.Popen(
            [sys.executable, "-m", program, path],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
        self.processes.append(process)
        return process

    def _write(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(0o600)
        return str(path)


def answer(process, *, timeout=20):
    """The node's last line, and how the process ended."""
    out, _ = process.communicate(timeout=timeout)
    return process.returncode, json.loads(out.splitlines()[-1]) if out.strip() else None
