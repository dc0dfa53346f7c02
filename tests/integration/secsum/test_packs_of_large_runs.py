"""What a pack of a run with large vectors shows, and that a small one cannot pass for it."""

from __future__ import annotations

import pytest

from ledger import verify
from ledger.evidence import build_pack
from server.model_card import CardTexts
from server.release import release
from tests.simulators.finished_run import NoLedger, finished_run
from twinward import canonical
from twinward.errors import EvidenceError
from twinward.secsum.profile import KEPT_DIMENSION

TEXTS = CardTexts(
    title="Risk", kind="risk", intended_use="Research.", limits=("None.",), hyper_parameters="Said."
)


def released(folder, dimension):
    run = finished_run(folder, word_bits=32, dimension=dimension, steps=2)
    done = release(
        folder / "r", transcript=run.transcript, founding=run.founding, plan=run.plan_document,
        order=run.order, names=("x",) * dimension, texts=TEXTS, identity=run.coordinator,
        ledger=NoLedger(),
    )  # fmt: skip
    run.transcript.close()
    return run, done


def test_sums_of_vectors_that_are_not_kept_are_said_not_to_be_re_added(tmp_path):
    _, done = released(tmp_path, KEPT_DIMENSION + 1)
    report = verify.verify(done.pack)
    assert report.ok, report.faults
    sums = next(check for check in report.checks if check.name == "sums")
    assert "NOT re-added" in sums.detail
    assert done.pack.stat().st_size < 10_000_000


def test_up_to_the_limit_they_are_re_added(tmp_path):
    _, done = released(tmp_path, KEPT_DIMENSION)
    report = verify.verify(done.pack)
    assert report.ok, report.faults
    sums = next(check for check in report.checks if check.name == "sums")
    assert "NOT" not in sums.detail


def test_a_coordinator_that_keeps_small_vectors_back_is_found_out(tmp_path):
    run, done = released(tmp_path, 3)
    records, faults = verify.read_archive(done.pack.read_bytes())
    assert faults == []
    records.pop("manifest.json")
    attempt = canonical.decode(records["attempts/0001-00001.json"])
    attempt["masked"][0]["vector"] = None
    records["attempts/0001-00001.json"] = canonical.encode(attempt)
    with pytest.raises(EvidenceError, match="vector is missing") as refused:
        build_pack(
            tmp_path / "forged.zip", records, identity=run.coordinator, run=run.run,
            plan_digest=run.plan.digest,
        )  # fmt: skip
    assert refused.value.code == "TW8511"
