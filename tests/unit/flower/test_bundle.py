"""The code-less bundle: the same bytes everywhere, no code, and Flower takes it."""

import hashlib
import io
import zipfile

import pytest

from hospital_node.supervise import approved_bundles
from server import fab
from twinward.flower_launch import approved_hashes


def test_the_bundle_of_this_release_is_the_one_that_its_nodes_approve():
    assert approved_hashes(approved_bundles()) == {fab.fab_sha256()}


def test_the_bundle_holds_two_names_and_a_licence_and_no_code():
    with zipfile.ZipFile(io.BytesIO(fab.fab_bytes())) as bundle:
        assert bundle.namelist() == ["pyproject.toml", "LICENSE", ".info/CONTENT"]
        # Compressed bytes would depend on the zlib of the machine that built them.
        assert {entry.compress_type for entry in bundle.infolist()} == {zipfile.ZIP_STORED}


def test_the_bundle_is_the_same_whenever_it_is_built():
    assert fab.fab_bytes() == fab.fab_bytes()
    assert fab.fab_sha256() == hashlib.sha256(fab.fab_bytes()).hexdigest()


@pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")
def test_flower_reads_the_bundle_and_finds_the_installed_apps(tmp_path):
    from importlib import import_module

    from flwr.cli.config_utils import get_fab_config
    from flwr.cli.install import install_from_fab

    components = get_fab_config(fab.fab_bytes())["tool"]["flwr"]["app"]["components"]
    for reference in components.values():
        module, name = reference.split(":")
        assert hasattr(import_module(module), name)
    unpacked = install_from_fab(fab.fab_bytes(), tmp_path, skip_prompt=True)
    assert sorted(path.name for path in unpacked.rglob("*")) == ["LICENSE", "pyproject.toml"]
