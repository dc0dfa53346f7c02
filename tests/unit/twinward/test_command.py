import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "web3", "flwr", "opacus", "grpc", "numpy", "pydantic", "cryptography", "rich")


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "twinward", *arguments], capture_output=True, text=True, timeout=60
    )


def test_help_imports_no_role_and_no_heavy_library():
    code = (
        "import sys; from click.testing import CliRunner; from twinward.__main__ import main; "
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.stdout.strip() == "[]", shown.stderr


@pytest.mark.parametrize("name", ["server", "node", "consent", "verify", "demo", "explain"])
def test_every_command_of_the_root_can_be_loaded(name):
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout


def test_a_refusal_has_its_exit_status_text_and_json(tmp_path):
    done = run("node", "status", str(tmp_path))
    assert done.returncode == 2
    assert "error[TW1050]" in done.stderr
    assert "help: " in done.stderr
    assert done.stdout == ""
    done = run("node", "status", str(tmp_path), "--json")
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert (error["code"], error["exit"]) == ("TW1050", 2)


def test_an_unknown_code_is_refused_and_a_known_one_explained():
    assert run("explain", "TW9999").returncode == 2
    done = run("explain", "tw1050", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["code"] == "TW1050"
