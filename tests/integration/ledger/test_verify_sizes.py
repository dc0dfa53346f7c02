"""A quorum by share of patients in an evidence pack: every epoch is held to what was declared."""

import contextlib

import pytest

from ledger import verify
from server.release import release
from tests.integration.ledger.test_verify_sampled import TEXTS
from tests.simulators.finished_run import HOSPITALS, NoLedger, finished_run
from twinward.errors import EvidenceError
from twinward.quorum import Sizes


def released(run, folder):
    with contextlib.closing(run.transcript):
        return release(
            folder / "release", transcript=run.transcript, founding=run.founding,
            plan=run.plan_document, order=run.order, names=("a", "b", "c"), texts=TEXTS,
            identity=run.coordinator, ledger=NoLedger(),
        )  # fmt: skip


def test_a_run_that_goes_on_without_a_small_hospital_verifies(tmp_path):
    run = finished_run(tmp_path, sizes=Sizes((4, 2, 1, 1), least_percent=80))
    assert verify.verify_bytes(released(run, tmp_path).pack.read_bytes()).ok


def test_a_run_that_went_on_without_the_large_hospital_is_found_out(tmp_path):
    lost = HOSPITALS.index("genf")
    sizes = [1, 1, 1, 1]
    sizes[lost] = 16
    run = finished_run(tmp_path, sizes=Sizes(tuple(sizes), least_percent=50))
    with pytest.raises(EvidenceError) as refused:
        released(run, tmp_path)
    assert "V040" in str(refused.value.diagnostic.as_text())
    assert not (tmp_path / "release" / "evidence.zip").exists()
