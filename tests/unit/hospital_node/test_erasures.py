"""Who was erased after a backup is erased again when it is put back, and nobody else."""

import shutil
from contextlib import closing

import pytest

from hospital_node import erasures
from hospital_node.data import imported, readmission
from hospital_node.paths import NodePaths
from ledger.account import address_of, new_key
from ledger.audit.bodies import Bodies
from twinward.errors import UsageError
from twinward.organisation import Organisation


@pytest.fixture
def node(tmp_path):
    folder, key = tmp_path / "node", new_key()
    folder.mkdir()
    Organisation(folder).create(
        org="basel", role="hospital", ledger_key=key, ledger_account=address_of(key)
    )
    return folder


def audit(folder):
    place = NodePaths(folder).audit
    return closing(Bodies(place / "bodies.sqlite", place / "keys.sqlite"))


def erase(folder, record):
    with audit(folder) as bodies:
        named = erasures.name(Organisation(folder).identity(), record)
        erasures.note(NodePaths(folder).audit, "audit", named)
        bodies.erase(record)


def test_only_what_was_erased_since_goes_again(node, tmp_path):
    with audit(node) as bodies:
        bodies.keep([(one, {"of": one}) for one in ("p-1", "p-2", "p-3")])
    erase(node, "p-1")
    with audit(node) as bodies:
        bodies.keep([("p-1", {"of": "p-1, who came back"})])
    shutil.copytree(node, tmp_path / "old")
    erase(node, "p-2")

    newer = NodePaths(node).erased
    assert erasures.take_up(tmp_path / "old", newer) == 1
    with audit(tmp_path / "old") as bodies:
        assert sorted(bodies.people()) == ["p-1", "p-3"]
    assert NodePaths(tmp_path / "old").erased.read_bytes() == newer.read_bytes()
    assert erasures.take_up(tmp_path / "old", newer) == 0


def test_who_was_let_in_again_is_erased_from_an_older_backup_and_may_still_come_back(
    node, tmp_path
):
    with closing(imported.open_store(node)):
        pass
    shutil.copytree(node, tmp_path / "old")
    with closing(imported.open_store(node)) as store:
        store.forget("p-1")
    assert readmission.left_out(node).has("p-1")
    assert readmission.let_in(node, "p-1")
    assert erasures.take_up(tmp_path / "old", NodePaths(node).erased) == 3
    back = readmission.left_out(tmp_path / "old")
    assert (back.has("p-1"), back.lifted) == (False, 2)
    with closing(imported.open_store(node)) as store:
        store.forget("p-1")
    assert readmission.left_out(node).has("p-1")


def test_a_name_says_nothing_without_the_key(node):
    erase(node, "p-1")
    data = NodePaths(node).erased.read_text()
    assert "p-1" not in data
    assert NodePaths(node).erased.stat().st_mode & 0o077 == 0


def test_another_file_is_refused(node, tmp_path):
    other = tmp_path / "other"
    for wrong in (b"audit xyz\n", b"hello\n", b"vault 00\n", b"\xff\xfe"):
        other.write_bytes(wrong)
        with pytest.raises(UsageError) as refusal:
            erasures.take_up(node, other)
        assert refusal.value.code == "TW7410"
