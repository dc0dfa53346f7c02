"""Evidence packs: a true one verifies anywhere; every way to tamper or lie has its own fault."""

import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import verify
from ledger.evidence import build_pack, encode_pack
from server.model_card import CardTexts
from server.release import release
from tests.simulators.finished_run import NoLedger, finished_run
from twinward import canonical
from twinward.errors import EvidenceError
from twinward.secsum import transcript
from twinward.secsum.messages import Close, Masked, Signed, Sum
from twinward.signing import Document, Identity

TEXTS = CardTexts(
    title="Risk", kind="risk", intended_use="Research.", limits=("None.",), hyper_parameters="Said."
)
FIRST, LOST = "attempts/0001-00001.json", "attempts/0001-00003.json"


class Case:
    """A true pack and the coordinator's key, to lie with."""

    def __init__(self, folder: Path, **options) -> None:
        self.run = finished_run(folder, **options)
        self.released = release(
            folder / "release",
            transcript=self.run.transcript,
            founding=self.run.founding,
            plan=self.run.plan_document,
            order=self.run.order,
            names=("a", "b", "c"),
            texts=TEXTS,
            identity=self.run.coordinator,
            ledger=NoLedger(),
        )
        self.run.transcript.close()
        self.data = self.released.pack.read_bytes()
        self.records, faults = verify.read_archive(self.data)
        assert faults == []

    def repacked(self, **changed: bytes | None) -> bytes:
        """The pack with other records, the manifest left as it was."""
        records = {**self.records, **changed}
        return verify.write_archive({n: d for n, d in records.items() if d is not None})

    def resigned(self, changed, *, drop=(), by=None) -> bytes:
        """The pack as a lying coordinator would make it: changed, and signed again."""
        records = {**self.records, **changed}
        del records["manifest.json"]
        return encode_pack(
            {name: data for name, data in records.items() if name not in drop},
            identity=by or self.run.coordinator,
            run=self.run.run,
            plan_digest=self.run.plan.digest,
        )

    def json(self, name):
        return canonical.decode(self.records[name])

    def identity_of(self, fingerprint: bytes) -> Identity:
        return next(
            identity
            for identity in self.run.identities.values()
            if identity.public.fingerprint == fingerprint.hex()
        )


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return Case(tmp_path_factory.mktemp("run"))


def fault_of(data: bytes, **options) -> verify.Fault:
    report = verify.verify_bytes(data, **options)
    assert not report.ok
    assert report.faults
    return report.faults[0]


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1 << at % 8
    return bytes(changed)


def sampled(size: int, most: int) -> range:
    return range(0, size, max(1, size // most))


# A true pack


def test_a_true_pack_verifies_and_says_what_it_does_not_show(case):
    report = verify.verify(case.released.pack)
    assert report.ok, report.faults
    names = [check.name for check in report.checks]
    assert names == ["founding", "manifest", "plan", "sums", "closings", "model", "card"]
    assert any("taken from the pack's own founding file" in note for note in report.notes)
    assert any("no ledger proofs" in note for note in report.notes)
    assert any("1 operator, 0 witnesses" in note for note in report.notes)


def test_the_fast_path_checks_every_byte_and_says_what_it_left_out(case):
    report = verify.verify(case.released.pack, fast=True)
    assert report.ok, report.faults
    assert [check.name for check in report.checks] == ["founding", "manifest", "plan", "release"]
    assert report.notes[0].startswith("fast path: sums were not added again")
    for at in sampled(len(case.data), 60):
        assert not verify.verify_bytes(flipped(case.data, at), fast=True).ok, at
    for name in ("card.json", "attempts/0001-00001.json", "model.safetensors"):
        forged = case.repacked(**{name: case.records[name] + b" "})
        assert fault_of(forged, fast=True).code == "V013"
        assert fault_of(case.resigned({name: case.records[name] + b" "})).record == name


def test_what_a_lying_coordinator_signs_needs_the_whole_check(case):
    """Why fast is not the default: it believes the coordinator's arithmetic."""
    bent = case.json(FIRST)
    bent["sum"] = None
    data = case.resigned({FIRST: canonical.encode(bent)})
    assert verify.verify_bytes(data, fast=True).ok
    assert not verify.verify_bytes(data).ok


def test_progress_is_told_and_shown_on_request(case, capsys):
    told = []
    assert verify.verify(case.released.pack, progress=told.append).ok
    assert told[0] == f"step 1 of {case.run.plan.steps}"
    assert verify.main([str(case.released.pack), "--full"]) == 0
    assert f"of {case.run.plan.steps}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        verify.main([str(case.released.pack), "--full", "--fast"])


@pytest.mark.parametrize(("word_bits", "dimension"), [(32, 1), (32, 6), (64, 27)])
def test_packs_of_other_sizes_verify(tmp_path, word_bits, dimension):
    run = finished_run(tmp_path, word_bits=word_bits, dimension=dimension, steps=3)
    released = release(
        tmp_path / "r", transcript=run.transcript, founding=run.founding, plan=run.plan_document,
        order=run.order, names=("x",) * dimension, texts=TEXTS, identity=run.coordinator,
        ledger=NoLedger(),
    )  # fmt: skip
    run.transcript.close()
    assert verify.verify(released.pack).ok


def test_the_verifier_runs_alone_on_a_machine_without_anything_of_ours(case, tmp_path):
    program = tmp_path / "verify.py"
    shutil.copy(verify.__file__, program)
    pack = tmp_path / "pack.zip"
    pack.write_bytes(case.data)

    def run(*arguments):
        # -I and -S: no site-packages, no environment; what it imports is the standard library.
        return subprocess.run(
            [sys.executable, "-I", "-S", program, *arguments],
            capture_output=True, text=True, check=False, cwd=tmp_path, env={},
        )  # fmt: skip

    good = run(pack)
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.startswith("evidence: verified\n")
    pack.write_bytes(flipped(case.data, len(case.data) // 2))
    bad = run(pack, "--json")
    assert (bad.returncode, bad.stderr) == (3, "")
    report = json.loads(bad.stdout)
    assert report["ok"] is False
    assert report["exit"] == 3
    assert report["faults"][0]["code"] == "V001"
    assert run(tmp_path / "absent").returncode == 3
    assert run().returncode == 2
    assert run(pack, "--founding", tmp_path / "absent").returncode == 2


def test_the_archive_is_a_zip_that_any_tool_opens(case):
    with zipfile.ZipFile(io.BytesIO(case.data)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == case.records


# Tampering: without the coordinator's key


def test_every_changed_byte_of_every_record_is_noticed_and_its_record_named(case):
    at = 0
    for name in sorted(case.records):
        start = at + 30 + len(name)
        size = len(case.records[name])
        for place in range(size):
            assert fault_of(flipped(case.data, start + place)).record == name
        at = start + size


def test_every_changed_byte_of_the_archive_around_the_records_is_noticed(case):
    inside, at = set(), 0
    for name in sorted(case.records):
        start = at + 30 + len(name)
        at = start + len(case.records[name])
        inside.update(range(start, at))
    for place in set(range(len(case.data))) - inside:
        fault_of(flipped(case.data, place))


def test_a_changed_record_in_a_repaired_archive_is_named(case):
    for name, data in case.records.items():
        fault = fault_of(case.repacked(**{name: flipped(data, len(data) // 2)}))
        assert fault.record == name
        assert fault.code == "V013" or name in {"founding.json", "manifest.json"}


def test_a_missing_record_is_named(case):
    for name in case.records:
        fault = fault_of(case.repacked(**{name: None}))
        assert (fault.code, fault.record) == ("V011", name)


def test_an_extra_record_is_named(case):
    fault = fault_of(case.repacked(**{"attempts/0009-00001.json": b"{}"}))
    assert (fault.code, fault.record) == ("V012", "attempts/0009-00001.json")


def _local(name: str, records) -> bytes:
    alone = verify.write_archive({name: records[name]})
    return alone[: 30 + len(name) + len(records[name])]


def test_a_record_that_is_there_twice_or_out_of_order_is_named(case):
    twice = _local("card.md", case.records) * 2
    fault = fault_of(twice + case.data)
    assert (fault.code, fault.record) == ("V001", "card.md")
    reordered = _local("plan.json", case.records) + _local("card.md", case.records)
    assert fault_of(reordered + case.data).record == "card.md"


def test_a_pack_cut_short_anywhere_is_refused(case):
    for length in [0, 1, 29, *sampled(len(case.data), 300), len(case.data) - 1]:
        fault_of(case.data[:length])
    fault_of(case.data + b"\0")
    fault_of(b"\0" + case.data)


def test_a_compressed_pack_is_refused(case):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(case.records.items()):
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    assert fault_of(buffer.getvalue()).code == "V001"


def test_a_record_that_claims_a_huge_size_is_refused_without_reading_it(case):
    huge = bytearray(_local("card.md", case.records))
    huge[18:26] = b"\xff\xff\xff\x7f" * 2
    fault = fault_of(bytes(huge))
    assert (fault.code, fault.record) == ("V002", "card.md")


def test_a_pack_larger_than_a_gibibyte_is_refused_unread(tmp_path):
    pack = tmp_path / "bomb.zip"
    with pack.open("wb") as file:
        file.truncate(verify.MAX_PACK_BYTES + 1)
    report = verify.verify(pack)
    assert report.faults[0].code == "V004"


def test_names_that_could_leave_the_archive_are_refused(case):
    for name in ("../evil", "/etc/passwd", "a//b", "A", "a/../b", ".hidden", "a\\b", ""):
        assert not verify.is_record_name(name)
        with pytest.raises(EvidenceError) as refused:
            encode_pack({name: b""}, identity=case.run.coordinator, run=b"r", plan_digest=b"p")
        assert refused.value.code == "TW8510"


def test_a_pack_that_someone_else_signed_is_refused(case):
    assert fault_of(case.resigned({}, by=Identity.generate())).code == "V010"
    hospital = case.run.identities["basel"]
    assert fault_of(case.resigned({}, by=hospital)).code == "V010"


def test_a_whole_network_that_was_made_up_is_noticed_by_the_pin(case, tmp_path):
    other = Case(tmp_path)
    mine = case.records["founding.json"]
    assert verify.verify_bytes(other.data).ok
    fault = fault_of(other.data, founding=mine)
    assert (fault.code, fault.record) == ("V022", "founding.json")
    assert fault_of(other.data, founding_sha256="ab" * 32).code == "V022"
    report = verify.verify_bytes(case.data, founding=mine)
    assert report.ok
    assert not any("own founding file" in note for note in report.notes)


# Lies: by the coordinator, who can sign the manifest again


def test_a_coordinator_that_changes_any_byte_of_any_record_is_found_out(case):
    for name in sorted(set(case.records) - {"manifest.json"}):
        for place in sampled(len(case.records[name]), 25):
            changed = flipped(case.records[name], place)
            assert fault_of(case.resigned({name: changed})).record == name, (name, place)


def with_masked(case, name, index, **fields) -> bytes:
    """The attempt's record with one vector's head changed and signed again by its own hospital."""
    record = case.json(name)
    entry = record["masked"][index]
    head = Masked.decode(bytes.fromhex(entry["signed"])[:-64])
    signed = Signed.by(case.identity_of(head.sender), replace(head, **fields))
    entry["signed"] = signed.blob.hex()
    return canonical.encode(record)


def with_sum(case, name, words: bytes, **fields) -> bytes:
    """The attempt's record with another sum, signed by the coordinator."""
    record = case.json(name)
    head = Sum.decode(bytes.fromhex(record["sum"]["signed"])[:-64])
    head = replace(head, total=canonical.tagged_hash("secsum-a/total/v1", words), **fields)
    signed = Signed.by(case.run.coordinator, head)
    record["sum"] = {"signed": signed.blob.hex(), "words": words.hex()}
    return canonical.encode(record)


def test_a_sum_that_is_not_the_sum_of_the_vectors_is_found_out(case):
    words = bytes.fromhex(case.json(FIRST)["sum"]["words"])
    data = with_sum(case, FIRST, (int.from_bytes(words[:8], "little") + 1).to_bytes(8, "little")
                    + words[8:])  # fmt: skip
    fault = fault_of(case.resigned({FIRST: data}))
    assert (fault.code, fault.record) == ("V053", FIRST)


def test_a_vector_that_its_hospital_did_not_sign_is_found_out(case):
    record = case.json(FIRST)
    vector = bytearray.fromhex(record["masked"][0]["vector"])
    vector[0] ^= 1
    record["masked"][0]["vector"] = vector.hex()
    fault = fault_of(case.resigned({FIRST: canonical.encode(record)}))
    assert (fault.code, fault.record) == ("V051", FIRST)


def test_a_vector_of_an_older_step_is_found_out(case):
    record, older = case.json("attempts/0001-00002.json"), case.json(FIRST)
    record["masked"][0] = older["masked"][0]
    name = "attempts/0001-00002.json"
    fault = fault_of(case.resigned({name: canonical.encode(record)}))
    assert (fault.code, fault.record) == ("V052", name)


def test_a_vector_for_another_model_is_found_out(case):
    data = with_masked(case, FIRST, 1, history=os.urandom(32))
    fault = fault_of(case.resigned({FIRST: data}))
    assert (fault.code, fault.record) == ("V052", FIRST)


def test_a_member_left_out_of_a_sum_is_found_out(case):
    record = case.json(FIRST)
    del record["masked"][2]
    fault = fault_of(case.resigned({FIRST: canonical.encode(record)}))
    assert (fault.code, fault.record) == ("V052", FIRST)


def test_a_lost_attempt_passed_off_as_a_sum_is_found_out(case):
    record = case.json(LOST)
    record["sum"] = case.json(FIRST)["sum"]
    fault = fault_of(case.resigned({LOST: canonical.encode(record)}))
    assert (fault.code, fault.record) == ("V052", LOST)


def test_a_lost_attempt_that_is_kept_back_cannot_hide_its_charge(case):
    # Nothing proves that an attempt was made but its own record; what hospitals signed as charged
    # is on the card all the same.
    report = verify.verify_bytes(case.resigned({}, drop=[LOST]))
    assert report.ok
    assert json.loads(case.records["card.json"])["privacy"]["attempts_charged"] == {
        "basel": 5, "bern": 5, "chur": 5, "genf": 7,
    }  # fmt: skip


def test_a_step_that_is_left_out_is_found_out(case):
    assert fault_of(case.resigned({}, drop=[FIRST])).code == "V056"
    last = max(name for name in case.records if name.startswith("attempts/"))
    assert fault_of(case.resigned({}, drop=[last])).code == "V056"
    assert fault_of(case.resigned({}, drop=["epochs/0002.json"])).code in {"V040", "V056"}


def test_a_wrong_sum_under_masks_that_did_not_cancel_is_found_out(tmp_path):
    case = Case(tmp_path)
    record = case.json(FIRST)
    entry = record["masked"][0]
    vector = os.urandom(len(entry["vector"]) // 2)
    digest = canonical.tagged_hash("secsum-a/vector/v1", vector)
    data = canonical.decode(with_masked(case, FIRST, 0, vector=digest))
    data["masked"][0]["vector"] = vector.hex()
    vectors = [bytes.fromhex(one["vector"]) for one in data["masked"]]
    words = verify.sum_of_vectors(vectors, 64)
    heads = transcript.heads_digest([bytes.fromhex(one["signed"]) for one in data["masked"]])
    case.records[FIRST] = canonical.encode(data)
    fault = fault_of(case.resigned({FIRST: with_sum(case, FIRST, words, heads=heads)}))
    assert (fault.code, fault.record) == ("V054", FIRST)


def test_an_epoch_of_two_is_found_out(case):
    record = case.json("epochs/0001.json")
    record["members"] = record["members"][:2]
    fault = fault_of(case.resigned({"epochs/0001.json": canonical.encode(record)}))
    assert (fault.code, fault.record) == ("V040", "epochs/0001.json")


def test_another_model_than_the_sums_give_is_found_out(case):
    data = bytearray(case.records["model.safetensors"])
    data[-1] ^= 1
    fault = fault_of(case.resigned({"model.safetensors": bytes(data)}))
    assert (fault.code, fault.record) == ("V070", "model.safetensors")


def lying_card(case, change) -> bytes:
    """The pack with another card, release and manifest signed again."""
    card = case.json("card.json")
    change(card)
    data = canonical.encode(card)
    document = Document.decode(case.records["release.json"], kind="twinward/release/v1")
    payload = json.loads(json.dumps(document.payload))
    payload["records"]["card.json"] = hashlib.sha256(data).hexdigest()
    signed = Document(document.kind, payload).signed_by(case.run.coordinator)
    return case.resigned({"card.json": data, "release.json": signed.encode()})


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card["privacy"].update(epsilon=0.5),
        lambda card: card["privacy"].update(mu=card["privacy"]["mu"] * 0.99),
        lambda card: card["privacy"].update(noise_multiplier=99.0),
        lambda card: card["privacy"]["attempts_charged"].update(basel=4),
        lambda card: card["privacy"]["adversaries"]["public"].update(epsilon=0.1),
        lambda card: card["privacy"].pop("patient_at_hospitals"),
        lambda card: card["privacy"].update(extra=True),
    ],
)
def test_a_privacy_statement_that_flatters_is_found_out(case, change):
    fault = fault_of(lying_card(case, change))
    assert (fault.code, fault.record) == ("V081", "card.json")


def test_a_card_of_another_run_is_found_out(case):
    assert fault_of(lying_card(case, lambda card: card.update(run="ab" * 32))).code == "V080"


def test_a_closing_that_is_missing_or_was_signed_by_someone_else_is_found_out(case):
    closes = case.json("closings.json")["closes"]
    data = canonical.encode({"closes": closes[:-1]})
    assert fault_of(case.resigned({"closings.json": data})).code == "V060"
    head = Close.decode(bytes.fromhex(closes[0])[:-64])
    forged = Signed.by(case.run.coordinator, head).blob.hex()
    data = canonical.encode({"closes": [forged, *closes[1:]]})
    assert fault_of(case.resigned({"closings.json": data})).code == "V060"


@pytest.mark.parametrize(("attempts", "code"), [(8, "V062"), (4, "V062"), (6, "V081")])
def test_a_charge_beyond_the_reservation_or_below_what_was_sent_is_found_out(case, attempts, code):
    closes = case.json("closings.json")["closes"]
    head = Close.decode(bytes.fromhex(closes[0])[:-64])
    signed = Signed.by(case.identity_of(head.sender), replace(head, attempts=attempts))
    data = canonical.encode({"closes": [signed.blob.hex(), *closes[1:]]})
    assert fault_of(case.resigned({"closings.json": data})).code == code


def test_a_plan_that_was_swapped_is_found_out(case):
    payload = {**case.run.plan_document.payload, "epsilon": 0.1}
    other = Document("twinward/plan/v1", payload).signed_by(case.run.coordinator)
    fault = fault_of(case.resigned({"plan.json": other.encode()}))
    assert fault.code == "V033"


def test_a_founding_file_that_one_member_did_not_sign_is_found_out(case):
    document = Document.decode(case.records["founding.json"], kind="twinward/founding/v1")
    partly = Document(document.kind, document.payload, document.signatures[1:])
    fault = fault_of(case.resigned({"founding.json": partly.encode()}))
    assert (fault.code, fault.record) == ("V020", "founding.json")


def test_a_founding_file_without_hospitals_is_found_out(case):
    document = Document.decode(case.records["founding.json"], kind="twinward/founding/v1")
    members = [
        m for m in document.payload["members"] if m["keys"]["payload"]["role"] == "coordinator"
    ]
    small = Document(document.kind, {**document.payload, "members": members})
    small = small.signed_by(case.run.coordinator)
    assert fault_of(case.resigned({"founding.json": small.encode()})).code == "V021"


# Garbage


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_garbage_gives_a_fault_and_never_a_traceback(data):
    assert not verify.verify_bytes(data).ok


def test_records_of_any_wrong_shape_give_a_fault_and_never_a_traceback(case):
    rng = random.Random(5)

    def mangled(value):
        """One place somewhere in the value replaced by something else."""
        if isinstance(value, dict) and value and rng.random() < 0.8:
            key = rng.choice(sorted(value))
            return {**value, key: mangled(value[key])}
        if isinstance(value, list) and value and rng.random() < 0.8:
            index = rng.randrange(len(value))
            return [*value[:index], mangled(value[index]), *value[index + 1 :]]
        return rng.choice([None, -1, 2**50, 0.5, "", "zz", "ab" * 32, [], {}, [[]], True, 1e300])

    # That fewer vectors of a lost attempt arrived is something a coordinator may always say.
    kept_out = {"manifest.json", LOST}
    names = [name for name in case.records if name.endswith(".json") and name not in kept_out]
    for index in range(300):
        name = names[index % len(names)]
        value = mangled(case.json(name))
        if canonical.encode(value) == case.records[name]:
            continue
        report = verify.verify_bytes(case.resigned({name: canonical.encode(value)}))
        assert not report.ok, (name, value)


def test_a_signed_manifest_of_the_wrong_shape_gives_a_fault(case):
    for payload in ({}, {"records": []}, {"records": {"a": 1}}, {"records": None}):
        manifest = Document("twinward/pack/v1", payload).signed_by(case.run.coordinator)
        assert not verify.verify_bytes(case.repacked(**{"manifest.json": manifest.encode()})).ok


# Writing


def test_a_pack_that_would_not_verify_is_never_written(case, tmp_path):
    path = tmp_path / "pack.zip"
    records = {name: data for name, data in case.records.items() if name != "manifest.json"}
    records["card.md"] += b"!"
    with pytest.raises(EvidenceError) as refused:
        build_pack(
            path,
            records,
            identity=case.run.coordinator,
            run=case.run.run,
            plan_digest=case.run.plan.digest,
        )
    assert refused.value.code == "TW8511"
    assert list(tmp_path.iterdir()) == []


def test_two_hundred_signatures_are_checked_in_under_three_seconds(tmp_path):
    run = finished_run(tmp_path, steps=50, dimension=27)
    released = release(
        tmp_path / "r", transcript=run.transcript, founding=run.founding, plan=run.plan_document,
        order=run.order, names=("x",) * 27, texts=TEXTS, identity=run.coordinator,
        ledger=NoLedger(),
    )  # fmt: skip
    run.transcript.close()
    verify._comb.cache_clear()
    began = time.process_time()
    assert verify.verify(released.pack).ok
    assert time.process_time() - began < 3
