"""What holds of the contracts after whatever anybody does: forge tries at random."""

import os
import subprocess
from pathlib import Path

import pytest

import ledger.contracts

FOLDER = Path(ledger.contracts.__file__).parent
FORGE = FOLDER / "node_modules" / "@foundry-rs" / "forge-linux-amd64" / "bin" / "forge"


def test_the_invariants_of_the_contracts_hold(tmp_path):
    if not FORGE.exists():
        pytest.skip("forge is not installed; run `npm ci` in ledger/contracts")
    run = subprocess.run(
        [str(FORGE), "test"],
        cwd=FOLDER,
        env={
            **os.environ,
            "FOUNDRY_OUT": str(tmp_path / "out"),
            "FOUNDRY_CACHE_PATH": str(tmp_path / "cache"),
            "FOUNDRY_INVARIANT_FAILURE_PERSIST_DIR": str(tmp_path / "failures"),
        },
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert "5 tests passed, 0 failed, 0 skipped" in run.stdout
