import pytest

from hospital_node import settings as node_settings
from hospital_node.settings import NodeSettings
from server import settings as server_settings
from server.settings import ServerSettings
from twinward.errors import UsageError
from twinward.settings import load


def a_node(**changes):
    return NodeSettings(
        **{"org": "cleveland", "data": "/data/a.data", "desk_port": 9500, "flower_port": 9501}
        | changes
    )


def test_what_init_writes_is_what_up_reads(tmp_path):
    path = tmp_path / node_settings.FILE
    written = a_node(witness_quorum=2)
    node_settings.write(path, written)
    assert load(NodeSettings, path).model_dump() == written.model_dump()


def test_the_coordinator_s_file_is_read_back_too(tmp_path):
    path = tmp_path / server_settings.FILE
    written = ServerSettings(
        org="coordinator", network="demo", network_port=1, flower_port=2, ledger_port=3
    )
    server_settings.write(path, written)
    assert load(ServerSettings, path).model_dump() == written.model_dump()


def test_the_environment_overrides_the_file(tmp_path, monkeypatch):
    path = tmp_path / node_settings.FILE
    node_settings.write(path, a_node())
    monkeypatch.setenv("TWINWARD_DESK_PORT", "9999")
    assert load(NodeSettings, path).desk_port == 9999


def test_an_unknown_key_is_refused_by_name(tmp_path):
    path = tmp_path / node_settings.FILE
    node_settings.write(path, a_node())
    path.write_text(path.read_text() + "lifetime_epsilom = 3.0\n")
    with pytest.raises(UsageError) as refused:
        load(NodeSettings, path)
    assert refused.value.code == "TW1052"
    assert "lifetime_epsilom" in refused.value.diagnostic.as_text()


def test_broken_toml_names_the_place(tmp_path):
    path = tmp_path / node_settings.FILE
    path.write_text('org = "cleveland\n')
    with pytest.raises(UsageError) as refused:
        load(NodeSettings, path)
    assert refused.value.code == "TW1051"
    assert "line 1" in refused.value.diagnostic.message


def test_a_folder_without_configuration_says_what_to_run(tmp_path):
    with pytest.raises(UsageError) as refused:
        load(NodeSettings, tmp_path / node_settings.FILE)
    assert refused.value.code == "TW1050"
    assert "init" in refused.value.diagnostic.help
