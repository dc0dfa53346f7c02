"""A sampled run in an evidence pack: its price is the plan's, and what is unchecked is said."""

import dataclasses
import math

import pytest

from ledger import verify
from server.model_card import CardTexts
from server.release import release
from tests.simulators.finished_run import NoLedger, finished_run
from twinward.plan import Sampling

SAMPLED = Sampling(rate=0.25, noise_multiplier=5.61563, charged_mu=0.277302)
TEXTS = CardTexts(
    title="Risk", kind="risk", intended_use="Research.", limits=("None.",), hyper_parameters="Said."
)


def test_a_sampled_run_verifies_and_says_what_was_not_checked(tmp_path):
    run = finished_run(tmp_path, sampling=SAMPLED)
    released = release(
        tmp_path / "release", transcript=run.transcript, founding=run.founding,
        plan=run.plan_document, order=run.order, names=("a", "b", "c"), texts=TEXTS,
        identity=run.coordinator, ledger=NoLedger(),
    )  # fmt: skip
    report = verify.verify_bytes(released.pack.read_bytes())
    run.transcript.close()
    assert report.ok
    assert [note for note in report.notes if "patients were sampled" in note]
    card = released.card.with_suffix(".md").read_text()
    assert "Sample rate: 0.25" in card
    assert "every delta from 1e-12 up" in card
    assert "closed form" not in card


@pytest.mark.parametrize("sampling", [None, dataclasses.asdict(SAMPLED)])
def test_the_statement_takes_price_and_noise_from_one_place(sampling):
    plan = {
        "steps": 30, "spare_attempts": 3, "epsilon": 1.0, "delta": 1e-5, "max_grad_norm": 2.0,
        "grid": 2.0 / 65536, "word_bits": 64, "sampling": sampling, "fedavg": None,
    }  # fmt: skip
    found = verify.privacy_statement(plan, member_counts=[4, 3], charged={})
    if sampling is None:
        assert found["noise_multiplier"] == pytest.approx(math.sqrt(33) / found["mu"])
        assert found["sample_rate"] == 1.0
        assert found["adversaries"]["public"]["mu"] < found["mu"]
    else:
        assert (found["mu"], found["noise_multiplier"]) == (0.277302, 5.61563)
        assert found["sample_rate"] == 0.25
        # Less is known to the public, but how much that helps under sampling is not claimed.
        assert {seen["mu"] for seen in found["adversaries"].values()} == {found["mu"]}
