"""The vault's key: made with the vault, missed when it is gone, and exchanged by one command."""

import json
from contextlib import closing

import pytest
from click.testing import CliRunner

from hospital_node import consents
from hospital_node.cli_vault import vault_key
from hospital_node.paths import NodePaths
from hospital_node.settings import FILE, NodeSettings, write
from twinward.errors import ConsentError
from twinward.organisation import Organisation

STUDY = bytes(32)


@pytest.fixture
def folder(tmp_path):
    write(
        tmp_path / FILE,
        NodeSettings(org="basel", data=tmp_path / "x", desk_port=9501, flower_port=9502),
    )
    with closing(consents.open_vault(tmp_path).store) as store:
        assert store.row("select count(*) from site") == (1,)
    return tmp_path


def key_of(folder):
    return Organisation(folder).secrets / "vault.key"


def enrolled(folder):
    vault = consents.open_vault(folder)
    with closing(vault.store):
        return vault.enrolment(b"c" * 16).record


def serve(folder):
    versions = consents.open_versions(folder)
    with closing(versions.store):
        versions.add("c1", "R1", {"resourceType": "Consent", "status": "active"}, at=1.0)


def served(folder):
    versions = consents.open_versions(folder)
    with closing(versions.store):
        return [one.id for one in versions.of("R1")]


def exchange(folder):
    done = CliRunner().invoke(vault_key, [str(folder), "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_without_its_key_a_vault_is_not_begun_anew(folder):
    key_of(folder).unlink()
    with pytest.raises(ConsentError) as error:
        consents.open_vault(folder)
    assert error.value.code == "TW8641"
    assert not key_of(folder).exists()


def test_the_command_gives_a_new_key_and_everyone_is_still_known(folder):
    vault = consents.open_vault(folder)
    vault.enrol(STUDY, ["R1"], valid_until=1, random_bytes=lambda size: b"c" * size)
    vault.store.close()
    serve(folder)
    old = key_of(folder).read_bytes()
    status, told = exchange(folder)
    assert (status, told["key"]) == (0, str(key_of(folder)))
    assert key_of(folder).read_bytes() != old
    assert key_of(folder).stat().st_mode & 0o077 == 0
    assert enrolled(folder) == "R1"
    assert served(folder) == ["c1"]
    assert [one.name for one in key_of(folder).parent.iterdir()] == ["vault.key"]


@pytest.mark.parametrize("where", ["rekey", "_put_in_place"])
def test_a_process_that_dies_in_the_middle_leaves_a_vault_that_opens(folder, monkeypatch, where):
    vault = consents.open_vault(folder)
    vault.enrol(STUDY, ["R1"], valid_until=1, random_bytes=lambda size: b"c" * size)
    vault.store.close()
    serve(folder)

    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(consents, where, dies)
        with pytest.raises(KeyboardInterrupt):
            consents.rotate(folder)
    assert served(folder) == ["c1"]
    assert enrolled(folder) == "R1"
    assert served(folder) == ["c1"]
    assert exchange(folder)[0] == 0
    assert enrolled(folder) == "R1"
    assert served(folder) == ["c1"]
    assert not (key_of(folder).parent / "vault.key.next").exists()


def test_a_folder_that_is_no_node_is_refused_by_name(tmp_path):
    status, told = exchange(tmp_path)
    assert (status, told["error"]["code"]) == (2, "TW1050")
    assert not NodePaths(tmp_path).vault.exists()
