"""An archive for support holds no patient, key or address, wherever they were planted."""

import json
import re
import zipfile
from contextlib import closing, suppress

import pytest

from hospital_node import support
from hospital_node.consents import open_vault
from hospital_node.paths import NodePaths
from hospital_node.settings import FILE, NodeSettings, write
from ledger.account import address_of, new_key
from twinward.errors import InternalError
from twinward.organisation import Organisation

PATIENT, NAME, HOST, TOKEN = "9483-PX-77120", "Erika Mustermann", "10.20.30.40", "tok-5fd1c0ffee99"


@pytest.fixture
def node(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://staff:{TOKEN}@{HOST}:3128")
    folder, key = tmp_path / "node", new_key()
    organisation = Organisation(folder)
    folder.mkdir()
    organisation.create(
        org="basel", role="hospital", ledger_key=key, ledger_account=address_of(key)
    )
    write(
        folder / FILE,
        NodeSettings(
            org="basel", data=tmp_path / f"{PATIENT}.data", host=HOST, desk_port=9501,
            flower_port=9502,
        ),
    )  # fmt: skip
    paths = NodePaths(folder)
    vault = open_vault(folder)
    with closing(vault.store):
        vault.enrol(bytes(32), [PATIENT], valid_until=1)
    planted = [PATIENT, NAME, HOST, TOKEN, key.hex()]
    keys = ("event", "level", "timestamp", "role", "code", "reason", "error", "hint", "peer",
            "child", "channel", "kind", "version", "url", "path", "seconds",
            "exit_status")  # fmt: skip
    lines = [f"Traceback: {word}; see TW3104" for word in planted]
    lines += [json.dumps({one: word}) for word in planted for one in keys]
    lines += [json.dumps({"seconds": {"of": PATIENT}, "level": [NAME]})]
    lines += ['{"level": "warning", "code": "TW3103", "seconds": 2.5, "event": "no tip"}']
    for path in (paths.log, paths.ledger / "ledger.log", paths.supernode / "supernode.log"):
        path.write_text("\n".join(lines))
    return folder


def test_nothing_that_was_planted_is_in_it(node, tmp_path):
    out = tmp_path / "bundle.zip"
    support.bundle(node, out, logs=[NodePaths(node).log])
    with zipfile.ZipFile(out) as archive:
        text = "\n".join(archive.read(name).decode() for name in archive.namelist())
        names = archive.namelist()
    secrets = [path.read_bytes() for path in Organisation(node).secrets.iterdir()]
    # Random bytes have ends of lines too: those are looked for whole, in hex.
    lines = [secret.hex() for secret in secrets]
    for secret in secrets:
        with suppress(UnicodeDecodeError):
            lines += [line for line in secret.decode().splitlines() if "-----" not in line and line]
    for word in (PATIENT, *NAME.split(), HOST, TOKEN, "basel", str(tmp_path), *lines):
        assert word not in text
    assert '{"code": "TW3103", "level": "warning", "seconds": 2.5}' in text
    assert '{"codes": ["TW3104"]}' in text
    assert {"about.json", "doctor.json", "status.json", "files.json", "settings.json"} < set(names)
    assert not re.search(r"\d{1,3}(\.\d{1,3}){3}", text), "an address"
    assert out.stat().st_mode & 0o077 == 0


def test_it_is_not_written_if_a_record_number_got_through(node, tmp_path, monkeypatch):
    monkeypatch.setattr(support, "_SAID", ("reason",))
    monkeypatch.setattr(support, "_SHAPES", {"reason": ".*"})
    with pytest.raises(InternalError) as refusal:
        support.bundle(node, tmp_path / "bundle.zip")
    assert refusal.value.code == "TW7411"
    assert PATIENT not in str(refusal.value)
    assert not (tmp_path / "bundle.zip").exists()
