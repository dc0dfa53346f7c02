"""The committed artifacts are what the sources compile to, and what stands on the chain."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

import ledger.contracts
from ledger.chain import Addresses
from ledger.deployed import CONTRACTS, artifact
from tests.simulators.ledger.network import FOUNDING
from twinward.errors import LedgerError

FOLDER = Path(ledger.contracts.__file__).parent


def test_the_artifacts_are_of_the_sources_beside_them():
    for name in CONTRACTS:
        stated = json.loads((FOLDER / "artifacts" / f"{name}.json").read_text())["sourceSha256"]
        assert stated == hashlib.sha256((FOLDER / "src" / f"{name}.sol").read_bytes()).hexdigest()
    assert {path.stem for path in (FOLDER / "artifacts").iterdir()} == set(CONTRACTS)


def test_a_rebuild_gives_the_same_bytes(tmp_path):
    if shutil.which("node") is None:
        pytest.skip("Node is not installed; the artifacts cannot be rebuilt here")
    if not (FOLDER / "node_modules" / "solc").exists():
        pytest.skip("the compiler is not installed; run `npm ci` in ledger/contracts")
    subprocess.run(["node", str(FOLDER / "build.js"), str(tmp_path)], check=True)
    for name in CONTRACTS:
        committed = (FOLDER / "artifacts" / f"{name}.json").read_bytes()
        assert (tmp_path / f"{name}.json").read_bytes() == committed


def test_the_lock_pins_every_package_and_names_no_server():
    lock = json.loads((FOLDER / "package-lock.json").read_text())
    packages = [entry for path, entry in lock["packages"].items() if path]
    assert packages
    assert all("integrity" in entry and "resolved" not in entry for entry in packages)


def test_the_code_on_the_chain_is_the_committed_one(network):
    network.coordinator.check_contracts(founding_digest=FOUNDING)
    for name, address in zip(CONTRACTS, network.contracts, strict=True):
        code = network.coordinator.code_at(address)
        assert artifact(name).matches(code)
        start = artifact(name).immutables[0][0]
        assert artifact(name).matches(code[:start] + b"\xff" * 32 + code[start + 32 :])
        assert not artifact(name).matches(code[:-1] + bytes([code[-1] ^ 1]))


def test_contracts_of_another_founding_are_refused(network):
    with pytest.raises(LedgerError) as refusal:
        network.coordinator.check_contracts(founding_digest=b"\0" * 32)
    assert refusal.value.code == "TW5023"


def test_missing_contracts_are_refused(network):
    elsewhere = network.connect()
    elsewhere.contracts = Addresses.of("0x" + "12" * 20)
    with pytest.raises(LedgerError) as refusal:
        elsewhere.check_contracts(founding_digest=FOUNDING)
    assert refusal.value.code == "TW5023"


def test_addresses_are_known_before_deployment_and_survive_the_founding_file(network):
    assert Addresses.of(network.coordinator.account) == network.contracts
    assert Addresses.from_json(network.contracts.to_json()) == network.contracts
    for bad in ({}, {"membership": "0x12"}, {**network.contracts.to_json(), "consent": "zz"}):
        with pytest.raises(LedgerError) as refusal:
            Addresses.from_json(bad)
        assert refusal.value.code == "TW5020"
