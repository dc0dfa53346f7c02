"""What the launchers check before Flower runs: each check can fail, and then nothing starts."""

import hashlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import hospital_node
from hospital_node.launcher import Launch, require_installed
from twinward import flower_launch
from twinward.errors import IdentityError, InternalError, UsageError

GOOD = "ab" * 32


@pytest.mark.parametrize(
    "text",
    ["", "# only a comment\n", "85C2\n", f"{GOOD} {GOOD}\n", f"{GOOD.upper()}\n", f"{GOOD}00\n"],
)
def test_a_list_that_is_empty_or_malformed_approves_nothing(tmp_path, text):
    path = tmp_path / "approved.txt"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        flower_launch.approved_hashes(path)
    assert refused.value.code == "TW6201"


def test_a_missing_list_approves_nothing(tmp_path):
    with pytest.raises(UsageError) as refused:
        flower_launch.approved_hashes(tmp_path / "nothing.txt")
    assert refused.value.code == "TW6201"


def test_hashes_are_read_with_comments(tmp_path):
    path = tmp_path / "approved.txt"
    path.write_text(f"# release 1\n{GOOD}  # audited by us\n\n{'0' * 64}\n")
    assert flower_launch.approved_hashes(path) == {GOOD, "0" * 64}


@pytest.mark.parametrize("change", [b"", b"x", b"bundle\0", b"bundl"])
def test_any_other_bytes_than_the_approved_are_refused(change):
    approved = frozenset({hashlib.sha256(b"bundle").hexdigest()})
    flower_launch.require_approved(b"bundle", approved)
    with pytest.raises(IdentityError) as refused:
        flower_launch.require_approved(change, approved)
    assert refused.value.code == "TW6202"


@pytest.mark.parametrize("version", ["1.40.9", "1.42.0", "1.41", "2.0.0", "1.410.1", "1.41.0.dev1"])
def test_another_flower_is_refused(monkeypatch, version):
    monkeypatch.setattr("importlib.metadata.version", lambda _name: version)
    with pytest.raises(UsageError) as refused:
        flower_launch.require_version()
    assert refused.value.code == "TW6203"


def test_the_installed_flower_is_the_audited_one():
    flower_launch.require_version()


def flower_like():
    """A module with one private function and one that looks it up, as Flower's have."""
    module = ModuleType("flower_like")
    exec("def _pull(state, get_fab): ...\ndef loop(): return _pull(1, 2)\n", module.__dict__)
    return module


def test_a_name_that_is_as_audited_passes():
    module = flower_like()
    found = flower_launch.require(module, "_pull", ("state", "get_fab"), used_by="loop")
    assert found is module._pull


def change_gone(module):
    del module._pull


def change_no_function(module):
    module._pull = 5


def change_parameters(module):
    exec("def _pull(state, fab): ...", module.__dict__)


def change_user(module):
    exec("def loop(): return None", module.__dict__)


def change_no_user(module):
    del module.loop


@pytest.mark.parametrize(
    "change",
    [change_gone, change_no_function, change_parameters, change_user, change_no_user],
)
def test_a_name_that_changed_is_refused(change):
    module = flower_like()
    change(module)
    with pytest.raises(InternalError) as refused:
        flower_launch.require(module, "_pull", ("state", "get_fab"), used_by="loop")
    assert refused.value.code == "TW6204"


def test_the_installed_package_is_recognised():
    require_installed(str(Path(hospital_node.__file__).parent / "flower_app.py"))


def test_a_package_that_shadows_the_installed_one_is_refused(tmp_path):
    fake = tmp_path / "hospital_node" / "flower_app.py"
    fake.parent.mkdir()
    fake.write_text("app = None\n")
    for origin in (str(fake), None):
        with pytest.raises(IdentityError) as refused:
            require_installed(origin)
        assert refused.value.code == "TW6206"


def test_the_command_line_says_what_was_asked_and_holds_no_secret(tmp_path):
    launch = Launch(
        superlink="127.0.0.1:1",
        ca=tmp_path / "ca",
        key=tmp_path / "key",
        port=9,
        folder=tmp_path,
        approved=tmp_path / "approved",
        parent=7,
    )
    assert Launch.parse(launch.as_arguments()) == launch


def test_flower_is_told_to_be_silent(tmp_path):
    variables = flower_launch.environment(tmp_path)
    assert variables["FLWR_TELEMETRY_ENABLED"] == "0"
    assert variables["FLWR_DISABLE_UPDATE_CHECK"] == "1"
    assert variables["FLWR_HOME"] == str(tmp_path)


def test_a_node_looks_for_a_coordinator_that_was_away_every_two_seconds(tmp_path):
    """Flower itself waits up to 20 s between two tries: too long after a restart."""
    program = (
        "import sys; from pathlib import Path; from hospital_node import launcher;"
        "launcher.gate(frozenset(), online=Path(sys.argv[1]), wake=1);"
        "from flwr.supercore.retry.http_retry import make_simple_http_retry_invoker as made;"
        "pauses = made().wait_gen_factory(); print(max(next(pauses) for _ in range(20)))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(tmp_path / "id")], capture_output=True, check=True
    )
    assert float(done.stdout) == 2
