"""The evaluation in an evidence pack: added again like the training, and no lie about it passes."""

import numpy as np
import pytest

from ledger import verify
from models import evaluation as maths
from server.model_card import CardTexts
from server.release import release
from tests.simulators.finished_run import NoLedger, finished_run
from twinward import canonical, descent
from twinward.plan import Evaluation
from twinward.secsum.messages import Close, Signed
from twinward.signing import Document

TEXTS = CardTexts(
    title="Risk", kind="risk", intended_use="Research.", limits=("None.",), hyper_parameters="Said."
)
ASKED = Evaluation(holdout_share=0.2, epsilon=3.0, bins=8, spare_attempts=1)


class Case:
    """A released run with its evaluation, and the coordinator's key, to lie with."""

    def __init__(self, folder, *, asked=ASKED):
        self.run = finished_run(folder, evaluation=asked)
        self.folder = folder / "release"
        self.released = self.release(self.folder)
        self.records, _ = verify.read_archive(self.released.pack.read_bytes())

    def release(self, folder, *, evaluation=...):
        run = self.run
        return release(
            folder, transcript=run.transcript, founding=run.founding, plan=run.plan_document,
            order=run.order, names=("a", "b", "c"), texts=TEXTS, identity=run.coordinator,
            ledger=NoLedger(), evaluation=run.evaluation if evaluation is ... else evaluation,
        )  # fmt: skip

    def json(self, name):
        return canonical.decode(self.records[name])

    def lying(self, changed=(), *, drop=()):
        """The pack of a coordinator that changes records and signs all over again."""
        import hashlib

        from ledger.evidence import encode_pack

        records = {**self.records, **dict(changed)}
        records = {name: data for name, data in records.items() if name not in drop}
        old = Document.decode(records.pop("release.json"), kind="twinward/release/v1")
        named = {
            name: hashlib.sha256(records[name]).hexdigest()
            for name in old.payload["records"]
            if name in records
        }
        new = Document(old.kind, {**old.payload, "records": named})
        records["release.json"] = new.signed_by(self.run.coordinator).encode()
        del records["manifest.json"]
        run = self.run
        return encode_pack(
            records, identity=run.coordinator, run=run.run, plan_digest=run.plan.digest
        )

    def close(self):
        self.run.transcript.close()
        self.run.evaluation.close()


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    case = Case(tmp_path_factory.mktemp("run"))
    yield case
    case.close()


def fault_of(data):
    report = verify.verify_bytes(data)
    assert not report.ok
    return report.faults[0]


def test_a_pack_with_an_evaluation_verifies_and_says_what_it_shows(case):
    report = verify.verify(case.released.pack)
    assert report.ok, report.faults
    said = {check.name: check.detail for check in report.checks}
    assert "1 sums re-added from 6 signed masked vectors in 2 epochs" in said["evaluation"]
    assert "at most 2 of 2 attempts charged" in said["evaluation closings"]
    value = case.json("evaluation.json")["figures"]["auroc"]["value"]
    assert f"AUROC {value:.3f}" in said["figures"]
    assert any("ROC points and calibration" in note for note in report.notes)


def test_the_verifiers_own_arithmetic_is_that_of_the_model_layer():
    rng = np.random.default_rng(2)
    for noise in (0.0, 2.3, 9.0):
        rows = rng.uniform(-3, 60, (2, 8))
        expected = maths.as_json(maths.Counts(rows[0], rows[1], noise))["auroc"]
        found = verify.auroc(list(rows[0]), list(rows[1]), noise)
        assert (found is None) == (expected is None)
        if found is not None:
            assert found == pytest.approx(expected, rel=1e-9)


def test_the_charge_of_a_lost_hospital_stands_in_the_statement(case):
    privacy = case.json("evaluation.json")["privacy"]
    assert privacy["attempts_charged"] == {"basel": 2, "bern": 2, "chur": 2, "genf": 2}
    assert privacy["epsilon"] == 3
    assert privacy["fewest_members"] == 3


def changed(value, path, new):
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize(
    ("path", "new", "code"),
    [
        (["figures", "auroc", "value"], 0.99, "V101"),
        (["figures", "auroc", "low"], 0.9, "V101"),
        (["figures", "auroc"], None, "V101"),
        (["figures", "noise_sd"], 0.1, "V101"),
        (["figures", "ill", 3], 77.0, "V101"),
        (["weights"], "00" * 32, "V101"),
        (["evaluation"], "00" * 32, "V101"),
        (["run"], "00" * 32, "V101"),
        (["privacy", "epsilon"], 1.0, "V081"),
        (["privacy", "attempts_charged", "basel"], 1, "V081"),
        (["missing"], "nobody came", "V100"),
        (["figures"], {}, "V003"),
    ],
)
def test_a_flattered_evaluation_is_refused(case, path, new, code):
    forged = changed(case.json("evaluation.json"), path, new)
    assert fault_of(case.lying({"evaluation.json": canonical.encode(forged)})).code == code


def test_a_vector_of_the_evaluation_that_was_exchanged_is_refused(case):
    name = "evaluation/attempts/0002-00001.json"
    record = case.json(name)
    vector = bytearray.fromhex(record["masked"][0]["vector"])
    vector[0] ^= 1
    forged = changed(record, ["masked", 0, "vector"], vector.hex())
    fault = fault_of(case.lying({name: canonical.encode(forged)}))
    assert (fault.code, fault.record) == ("V051", name)


def test_a_sum_of_the_evaluation_that_was_exchanged_is_refused(case):
    name = "evaluation/attempts/0002-00001.json"
    record = case.json(name)
    words = bytearray.fromhex(record["sum"]["words"])
    words[8] ^= 1
    forged = changed(record, ["sum", "words"], words.hex())
    assert fault_of(case.lying({name: canonical.encode(forged)})).code == "V053"


def test_closings_of_the_training_do_not_pass_for_those_of_the_evaluation(case):
    forged = {"evaluation/closings.json": case.records["closings.json"]}
    assert fault_of(case.lying(forged)).record == "evaluation/closings.json"


def test_an_evaluation_that_members_signed_for_another_model_is_refused(case):
    name = "evaluation/closings.json"
    blob = Signed.of_blob(bytes.fromhex(case.json(name)["closes"][0]))
    close = Close.decode(blob.head)
    by = {i.public.fingerprint: i for i in case.run.identities.values()}
    from dataclasses import replace

    other = Signed.by(by[close.sender.hex()], replace(close, model=b"\x01" * 32))
    forged = changed(case.json(name), ["closes", 0], other.blob.hex())
    assert fault_of(case.lying({name: canonical.encode(forged)})).code == "V061"


@pytest.mark.parametrize(
    ("drop", "code"),
    [
        (["evaluation.json"], "V100"),
        (["evaluation/epochs/0001.json"], "V040"),
        (["evaluation/closings.json"], "V011"),
        (["evaluation/attempts/0002-00001.json"], "V056"),
    ],
)
def test_a_part_of_the_evaluation_that_was_left_out_is_missed(case, drop, code):
    assert fault_of(case.lying(drop=drop)).code == code


def test_every_byte_of_the_evaluation_counts(case):
    data = case.released.pack.read_bytes()
    for name in [n for n in case.records if n.startswith("evaluation")]:
        at = data.index(case.records[name]) + len(case.records[name]) // 2
        flipped = data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]
        assert fault_of(flipped).record == name


def test_an_evaluation_smuggled_into_a_plan_without_one_is_refused(case, tmp_path):
    run = finished_run(tmp_path)
    released = release(
        tmp_path / "r", transcript=run.transcript, founding=run.founding, plan=run.plan_document,
        order=run.order, names=("a", "b", "c"), texts=TEXTS, identity=run.coordinator,
        ledger=NoLedger(),
    )  # fmt: skip
    run.transcript.close()
    records, _ = verify.read_archive(released.pack.read_bytes())
    name = "evaluation/closings.json"
    del records["manifest.json"]
    from ledger.evidence import encode_pack

    forged = encode_pack(
        {**records, name: case.records[name]},
        identity=run.coordinator, run=run.run, plan_digest=run.plan.digest,
    )  # fmt: skip
    fault = fault_of(forged)
    assert (fault.code, fault.record) == ("V100", name)


def test_a_model_is_released_unmeasured_and_the_reason_is_said(case, tmp_path):
    released = case.release(tmp_path / "r", evaluation=None)
    report = verify.verify(released.pack)
    assert report.ok, report.faults
    assert any("released unmeasured" in note for note in report.notes)
    assert released.evaluation["missing"]
    page = (tmp_path / "r" / "report.html").read_text()
    assert "Not measured" in page
    assert released.evaluation["missing"] in page
    assert descent.digest(released.weights).hex() == released.evaluation["weights"]
