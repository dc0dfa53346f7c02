"""Releasing a run: what is handed out, in which order, and what a crash at any line leaves."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from ledger import evidence, verify
from server import release as release_module
from server.model_card import CardTexts
from server.release import is_available, release
from server.transcript import Transcript
from tests.simulators.finished_run import HOSPITALS, NoLedger, Sums, finished_run, found, make_plan
from twinward import canonical, descent
from twinward.errors import EvidenceError, LedgerUnreachable
from twinward.secsum.messages import Close, Signed
from twinward.signing import Document, Identity

TEXTS = CardTexts(
    title="Risk of coronary heart disease",
    kind="risk",
    intended_use="Research.",
    limits=("Not a medical device.", "Describes groups."),
    hyper_parameters="Tuned on other splits of public records; not charged.",
)
NAMES = ("age", "sex", "constant")


@pytest.fixture
def run(tmp_path):
    run = finished_run(tmp_path)
    yield run
    run.transcript.close()


def released(run, folder, *, ledger=None):
    return release(
        folder,
        transcript=run.transcript,
        founding=run.founding,
        plan=run.plan_document,
        order=run.order,
        names=NAMES,
        texts=TEXTS,
        identity=run.coordinator,
        ledger=ledger or NoLedger(),
    )


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_release_holds_model_card_and_a_pack_that_verifies(run, tmp_path):
    ledger = NoLedger()
    result = released(run, tmp_path / "r", ledger=ledger)
    assert is_available(tmp_path / "r")
    assert verify.verify(result.pack, founding=run.founding.document.encode()).ok
    assert ledger.recorded == [result.digest]
    assert set(files(tmp_path / "r")) == {
        "model.safetensors", "card.json", "card.md", "report.html", "release.json", "evidence.zip",
        "privacy.svg", "privacy.json",
    }  # fmt: skip


def test_the_model_is_the_mean_of_the_last_iterates_and_names_its_inputs(run, tmp_path):
    result = released(run, tmp_path / "r")
    weights = load_file(result.model)["weights"]
    assert weights.dtype == np.float64
    assert weights.tobytes() == run.weights.tobytes() == result.weights.tobytes()
    data = result.model.read_bytes()
    head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    about = json.loads(head["__metadata__"]["twinward"])
    assert about["names"] == list(NAMES)
    assert about["run"] == run.run.hex()


def test_the_digest_on_the_ledger_covers_model_and_card(run, tmp_path):
    folder = tmp_path / "r"
    result = released(run, folder)
    document = Document.decode((folder / "release.json").read_bytes(), kind="twinward/release/v1")
    document.verify(run.coordinator.public)
    assert document.digest == result.digest
    assert set(document.payload["records"]) == {
        "model.safetensors", "card.json", "card.md", "report.html", "privacy.svg", "privacy.json",
    }  # fmt: skip
    assert document.payload["weights"] == descent.digest(run.weights).hex()


def test_the_card_says_everything_that_a_privacy_statement_must_say(run, tmp_path):
    result = released(run, tmp_path / "r")
    text = result.card.read_text(encoding="utf-8")
    for said in (
        "epsilon 1 at delta 1e-05", "a patient at one hospital", "Zero-out", "Not hidden",
        "how many consents and withdrawals", "which hospitals took part", "sending slot",
        "the public and auditors", "one other hospital", "assumed colluders",
        "hospitals of the study that hold the patient", "| 1 | 0.2681 | 1.000 |",
        "| 2 | 0.5361 | 2.155 |", "Noise multiplier", "Clipping norm: 2", "Grid:", "64 bits",
        "Steps: 4, spare attempts: 3", "Attempts charged: basel 5, bern 5, chur 5, genf 7",
        "Fewest members in an epoch: 3", "Fewest honest shares of noise: 2",
        "Gaussian differential privacy", "2^-1000", "operating system", "secure_sum", "poison",
        "Hyper-parameters: Tuned on other splits", "Other releases about the same patients",
        "trusted entirely", "Not a medical device.", "Describes groups.",
    ):  # fmt: skip
        assert said in text, said
    card = json.loads((tmp_path / "r" / "card.json").read_bytes())
    assert card["privacy"]["adversaries"]["public"]["epsilon"] < 1
    assert card["privacy"]["adversaries"]["one_other_hospital"]["epsilon"] == pytest.approx(1)
    assert "patients" not in card  # no count of a cohort stands anywhere


def test_releasing_twice_changes_nothing(run, tmp_path):
    ledger = NoLedger()
    released(run, tmp_path / "r", ledger=ledger)
    before = files(tmp_path / "r")
    released(run, tmp_path / "r", ledger=ledger)
    assert files(tmp_path / "r") == before
    assert len(ledger.recorded) == 1


def test_a_release_says_in_words_as_a_picture_and_for_nist_what_it_tells_of_a_patient(
    run, tmp_path
):
    folder = tmp_path / "r"
    result = released(run, folder)
    said = json.loads((folder / "card.json").read_bytes())["privacy_for_people"]
    assert "guess right at most 56 times in 100" in " ".join(said)
    assert all(paragraph in result.card.read_text(encoding="utf-8") for paragraph in said)
    assert "at most 56 in 100" in (folder / "privacy.svg").read_text(encoding="utf-8")
    considered = json.loads((folder / "privacy.json").read_bytes())
    assert considered["guarantee"]["mu"] == result.privacy["mu"]
    assert considered["trust"]["honest_shares_needed"] == 2


class Crash(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("line", range(11))
def test_a_crash_between_any_two_writes_is_repaired_by_releasing_again(
    run, tmp_path, monkeypatch, line
):
    expected = released(run, tmp_path / "whole")
    done = []
    real = release_module.write_atomic

    def step(action):
        if len(done) == line:
            raise Crash
        action()
        done.append(line)

    def dying_write(path, data, **options):
        step(lambda: real(path, data, **options))

    class DyingLedger(NoLedger):
        def record_model(self, digest, *, parents):
            step(lambda: NoLedger.record_model(self, digest, parents=parents))

        def proofs(self, claims):
            step(lambda: None)
            return super().proofs(claims)

    ledger = DyingLedger()
    monkeypatch.setattr(release_module, "write_atomic", dying_write)
    monkeypatch.setattr(evidence, "write_atomic", dying_write)
    try:
        released(run, tmp_path / "r", ledger=ledger)
        crashed = False
    except Crash:
        crashed = True
    assert crashed == (line < 10)
    # Seven files, the ledger, its proofs, the pack: nothing is available before the last of them.
    assert is_available(tmp_path / "r") == (line >= 10)
    if ledger.recorded:
        assert (tmp_path / "r" / "release.json").exists()
    monkeypatch.undo()
    again = NoLedger()
    again.recorded = ledger.recorded
    result = released(run, tmp_path / "r", ledger=again)
    assert files(tmp_path / "r") == files(tmp_path / "whole")
    assert again.recorded == [result.digest] == [expected.digest]


def test_nothing_is_available_while_the_ledger_does_not_answer(run, tmp_path):
    class Silent(NoLedger):
        def record_model(self, digest, *, parents):
            raise LedgerUnreachable("no answer", help="try again")

    with pytest.raises(LedgerUnreachable):
        released(run, tmp_path / "r", ledger=Silent())
    assert not is_available(tmp_path / "r")
    released(run, tmp_path / "r")
    assert is_available(tmp_path / "r")


@pytest.fixture
def played(tmp_path):
    identities = {org: Identity.generate() for org in ("coordinator", *HOSPITALS)}
    founding = found(identities)
    plan = make_plan(founding)
    sums = Sums(
        tmp_path / "t", identities=identities, founding=founding, plan=plan, run=b"\x05" * 32
    )
    sums.begin(HOSPITALS)
    for _ in range(4):
        sums.step()
    order = Document("twinward/run/v1", {"run": sums.run.hex(), "plan": plan.digest.hex()})
    yield sums, founding, plan, order
    sums.transcript.close()


def _release(sums, founding, plan, order, folder):
    coordinator = sums.identities["coordinator"]
    return release(
        folder, transcript=sums.transcript, founding=founding, names=NAMES, texts=TEXTS,
        plan=plan.to_document().signed_by(coordinator), order=order.signed_by(coordinator),
        identity=coordinator, ledger=NoLedger(),
    )  # fmt: skip


@pytest.mark.parametrize("failed", [False, True])
def test_an_unfinished_or_failed_run_is_not_released(played, tmp_path, failed):
    sums, founding, plan, order = played
    if failed:
        sums.transcript.fail("too few hospitals")
    with pytest.raises(EvidenceError) as refused:
        _release(sums, founding, plan, order, tmp_path / "r")
    assert refused.value.code == "TW8501"
    assert not (tmp_path / "r").exists()


def test_a_run_whose_members_signed_another_model_is_not_released(played, tmp_path):
    sums, founding, plan, order = played
    honest, sums.iterates = sums.iterates, [np.zeros(3)] * 4
    sums.close()
    assert len(honest) == 4
    with pytest.raises(EvidenceError) as refused:
        _release(sums, founding, plan, order, tmp_path / "r")
    assert refused.value.code == "TW8502"
    assert not (tmp_path / "r").exists()


def test_a_run_that_a_member_did_not_close_is_not_released(played, tmp_path):
    sums, founding, plan, order = played
    missing = sums.members[0]
    sums.members = sums.members[1:]
    sums.close()
    assert missing not in sums.transcript.closings()
    with pytest.raises(EvidenceError) as refused:
        _release(sums, founding, plan, order, tmp_path / "r")
    assert refused.value.code == "TW8502"


def test_a_closing_that_was_forged_never_leaves_the_coordinator(played, tmp_path):
    sums, founding, plan, order = played
    model = descent.digest(descent.release(plan, sums.iterates))
    stranger = Identity.generate()
    sums.transcript.finish(
        {
            member: Signed.by(
                stranger,
                Close(run=sums.run, plan=plan.digest, epoch=1, sender=member, setup=sums.setup,
                      history=sums.history, model=model, steps=4, attempts=4),
            )
            for member in sums.members
        }
    )  # fmt: skip
    with pytest.raises(EvidenceError) as refused:
        _release(sums, founding, plan, order, tmp_path / "r")
    assert refused.value.code == "TW8511"
    assert not is_available(tmp_path / "r")


def test_a_pack_that_rotted_on_disk_is_not_handed_out_as_good(run, tmp_path):
    result = released(run, tmp_path / "r")
    data = bytearray(result.pack.read_bytes())
    data[len(data) // 2] ^= 1
    result.pack.write_bytes(data)
    with pytest.raises(EvidenceError) as refused:
        released(run, tmp_path / "r")
    assert refused.value.code == "TW8503"
    result.pack.unlink()
    assert released(run, tmp_path / "r").report.ok


def test_a_transcript_read_again_from_disk_gives_the_same_release(run, tmp_path):
    first = released(run, tmp_path / "a")
    run.transcript.close()
    run.transcript = Transcript.open(tmp_path / "transcript.sqlite")
    second = released(run, tmp_path / "b")
    assert first.pack.read_bytes() == second.pack.read_bytes()


def test_the_card_is_canonical_so_that_its_hash_is_its_name(run, tmp_path):
    released(run, tmp_path / "r")
    assert canonical.decode((tmp_path / "r" / "card.json").read_bytes())
