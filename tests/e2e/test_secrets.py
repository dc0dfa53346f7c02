"""What must not be seen: keys in process lists, logs or open files; patients at the coordinator."""

import base64
import json
import re
import stat

import pytest

from tests.simulators.network import COORDINATOR, command_lines

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def after_a_run(running):
    """A network in which everything has happened: consents, a run, a withdrawal, a release."""
    running.heal()
    running.complete_run()
    running.withdraw(running.granted(running.hospitals[0])[0])
    return running


def secrets_of(network):
    """Every secret on the disks of this network, in the forms in which it could leak."""
    files = [
        path
        for role in (COORDINATOR, *network.hospitals)
        for place in ("secrets/*", "run/*.token", "state/*/executor.secret")
        for path in (network.folder / role).glob(place)
    ]
    assert len(files) >= 5 * 4 + 5 + 5
    found = set()
    for path in files:
        data = path.read_bytes().strip()
        found |= {data, data.hex().encode()}
        lines = [line for line in data.splitlines() if not line.startswith(b"-----")]
        found |= {b"".join(lines), *lines[1:-1]}
    with network.wallet() as wallet:
        for entry in wallet.entries():
            found |= {entry.letter.code, entry.letter.code.hex().encode()}
            found.add(base64.b64encode(entry.letter.code).rstrip(b"="))
        for (key,) in wallet._store.rows("select key from entries where key is not null"):
            found |= {key, key.hex().encode()}
    return {secret for secret in found if len(secret) >= 16}


def logs_of(network):
    return [path for path in network.folder.rglob("*.log") if path.is_file()]


def test_no_secret_stands_in_a_process_list(after_a_run):
    network = after_a_run
    lines = command_lines(network.folder)
    assert len(lines) >= 12  # five daemons, ledger, SuperLink and SuperNodes with their apps
    secrets = secrets_of(network)
    for line in lines.values():
        assert not [secret for secret in secrets if secret in line.encode()]


def test_no_secret_stands_in_a_log(after_a_run):
    network = after_a_run
    secrets = secrets_of(network)
    logs = logs_of(network)
    assert {path.name for path in logs} >= {"coordinator.log", "superlink.log", "supernode.log"}
    for path in logs:
        text = path.read_bytes()
        assert not [secret for secret in secrets if secret in text], path


def test_nothing_that_another_user_can_read_holds_a_secret(after_a_run):
    network = after_a_run
    secrets = secrets_of(network)
    seen = 0
    for path in open_to_others(network.folder):
        data = path.read_bytes()
        seen += 1
        assert not [secret for secret in secrets if secret in data], path
    assert seen > 10  # plans, certificates, releases: what everyone may read
    for role in (COORDINATOR, *network.hospitals):
        for private in ("secrets", "run"):
            assert stat.S_IMODE((network.folder / role / private).stat().st_mode) == 0o700
        for key in (network.folder / role / "secrets").iterdir():
            assert stat.S_IMODE(key.stat().st_mode) == 0o600
    for name in network.hospitals:
        assert stat.S_IMODE((network.folder / name / "state").stat().st_mode) == 0o700
        assert stat.S_IMODE((network.folder / f"{name}.letters").stat().st_mode) == 0o600


def open_to_others(folder):
    """Files below that a user of another group could read, doors on the way included."""
    for entry in folder.iterdir():
        mode = entry.stat().st_mode
        if stat.S_ISDIR(mode) and mode & 0o001:
            yield from open_to_others(entry)
        elif stat.S_ISREG(mode) and mode & 0o004:
            yield entry


def test_no_record_number_and_no_count_of_patients_reaches_the_coordinator(after_a_run):
    network = after_a_run
    numbers = [f"{name}-{row:04d}".encode() for name in network.hospitals for row in range(1, 61)]
    files = [network.folder / f"{COORDINATOR}.log"]
    files += [path for path in (network.folder / COORDINATOR).rglob("*") if path.is_file()]
    assert any(path.suffix == ".sqlite" for path in files)
    counted = re.compile(rb"(cohort|patients|records)\W{1,4}\d|\d\s+(patients|records)")
    for path in files:
        data = path.read_bytes()
        assert not [number for number in numbers if number in data], path
        if path.suffix in {".log", ".json", ".md"}:
            allowed = {b"max_patients_per_hospital"}
            hits = {match.group() for match in counted.finditer(data)}
            near = [data[max(0, m.start() - 30) : m.end() + 20] for m in counted.finditer(data)]
            assert not hits or all(any(word in text for word in allowed) for text in near), (
                path, near,
            )  # fmt: skip


def test_a_hospitals_own_log_names_no_patient(after_a_run):
    network = after_a_run
    for name in network.hospitals:
        for path in [network.folder / f"{name}.log", *(network.folder / name).rglob("*.log*")]:
            if path.is_file():
                assert not re.search(rf"{name}-\d{{4}}".encode(), path.read_bytes()), path


def test_what_left_a_hospital_is_what_its_gate_wrote_down(after_a_run):
    network = after_a_run
    kinds = set()
    log = network.folder / network.hospitals[0] / "state" / "egress.jsonl"
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        assert set(entry) == {"at", "channel", "kind", "to", "bytes"}
        kinds.add((entry["channel"], entry["kind"]))
    assert kinds >= {
        ("ledger", "grants"), ("ledger", "approval"), ("ledger", "reservation"),
        ("secure-sum", "hello"), ("secure-sum", "advertise"), ("secure-sum", "masked"),
        ("secure-sum", "close"), ("flower", "closing"), ("desk", "reply"),
    }  # fmt: skip
