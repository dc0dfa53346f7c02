"""A withdrawal to its last word: with the ledger down, with a process that dies, with a clock."""

from contextlib import closing
from dataclasses import replace

import pytest

from consent import pipeline
from consent.completions import KIND, Completions, Used
from consent.pipeline import COMPLETE_WITHIN, Pipeline, Stage, Surroundings, progress
from tests.simulators.consent.world import HOSPITAL, IDENTITY, NOW, STUDY, Hospital, Patient
from twinward.errors import LedgerUnreachable
from twinward.signing import Document

pytestmark = pytest.mark.usefixtures("both_stores")

TRAINED = Used("aa" * 32, "heart-risk", trains=True, epsilon=1.0, delta=1e-5)
OF_A_SHARD = Used("cc" * 32, "heart-risk", trains=True, epsilon=1.0, delta=1e-5, shard=1)
NEWER = Used("dd" * 32, "heart-risk", trains=True, epsilon=1.0, delta=1e-5, shard=1)
MEASURED = Used("bb" * 32, "heart-risk", trains=False, epsilon=0.5, delta=1e-5)


class World:
    """A hospital with its pipeline; what is ``retired`` is on the ledger."""

    def __init__(self, folder):
        self.hospital = Hospital(folder)
        self.path = folder / "completions.db"
        self.entered, self.retired, self.reachable = [], set(), True
        self.asked, self.refuses, self.successors = [], False, {}
        self.used = {record: [TRAINED, MEASURED] for record in self.hospital.records}
        self.completions = Completions(self.path)
        self.begin()

    def begin(self):
        self.pipeline = Pipeline(
            self.hospital.vault,
            self.completions,
            Surroundings(
                hospital=HOSPITAL,
                identity=IDENTITY,
                clock=self.hospital.clock,
                used=lambda kept: self.used[kept.record],
                retired=self.is_retired,
                ask_again=self.ask_again,
                successor=lambda kept, used: self.successors.get((kept.record, used.run)),
                entered=self.entered.append,
            ),
        )

    def is_retired(self, run):
        if not self.reachable:
            raise LedgerUnreachable("silent", code="TW5001", help="wait")
        return run.hex() in self.retired

    def ask_again(self, run):
        self.asked.append(run.hex())
        return not self.refuses

    def crash(self):
        self.hospital.reopen()
        self.completions.store.close()
        self.completions = Completions(self.path)
        self.begin()

    def withdrawn(self, number=0):
        patient = Patient(self.hospital, number)
        patient.grants()
        self.hospital.push()
        patient.withdraws()
        return patient

    def standing(self):
        return list(progress(self.hospital.vault, self.completions))


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    with closing(made.completions.store):
        yield made


def test_the_last_word_names_every_model_with_its_bound_and_is_signed(world):
    world.hospital.next_step = 12
    world.withdrawn()
    world.hospital.push()
    assert world.pipeline.advance() == 1
    (one,) = world.standing()
    assert one.stage is Stage.COMPLETE
    assert one.due is None
    said = Document.decode(one.completion.encode(), kind=KIND)
    said.verify(IDENTITY.public)
    assert said.payload["excluded_from_step"] == 12
    assert said.payload["on_ledger"] is True
    assert said.payload["retraining"] == "not-offered"
    assert said.payload["models"] == [
        {"run": "aa" * 32, "study": "heart-risk", "trains": True, "epsilon": 1.0,
         "delta": 1e-5, "becomes": "bounded"},
        {"run": "bb" * 32, "study": "heart-risk", "trains": False, "epsilon": 0.5,
         "delta": 1e-5, "becomes": "bounded"},
    ]  # fmt: skip
    assert [one.digest for one in world.entered] == [said.digest]
    assert world.pipeline.advance() == 0
    assert len(world.entered) == 1


def test_with_the_ledger_down_it_waits_with_its_models_named_and_becomes_late(world):
    world.withdrawn()
    assert world.pipeline.advance() == 0
    (one,) = world.standing()
    assert (one.stage, one.used) == (Stage.EXCLUDED, (TRAINED, MEASURED))
    assert one.due == one.kept.on_chain_by
    assert one.seconds_left(NOW) > 0
    assert one.seconds_left(one.due + 1) == -1
    world.hospital.push()
    (one,) = world.standing()
    assert one.stage is Stage.ON_LEDGER
    assert one.due == one.kept.on_chain_by + COMPLETE_WITHIN
    world.reachable = False
    with pytest.raises(LedgerUnreachable):
        world.pipeline.advance()
    assert world.standing()[0].stage is Stage.ON_LEDGER
    world.reachable = True
    assert world.pipeline.advance() == 1


@pytest.mark.parametrize("dying_in", ["used", "entered", "keep"])
def test_a_process_that_dies_anywhere_leaves_something_that_the_next_one_completes(
    world, monkeypatch, dying_in
):
    world.withdrawn()
    world.hospital.push()

    class Died(Exception):
        pass

    def die(*_):
        raise Died

    with monkeypatch.context() as patched:
        if dying_in == "used":
            patched.setattr(world.completions, "note_used", die)
        elif dying_in == "entered":
            world.pipeline._around = replace(world.pipeline._around, entered=die)
        else:
            patched.setattr(world.completions, "keep", die)
        with pytest.raises(Died):
            world.pipeline.advance()
    world.crash()
    assert world.pipeline.advance() == 1
    assert [one.stage for one in world.standing()] == [Stage.COMPLETE]
    world.crash()
    assert world.pipeline.advance() == 0


def test_a_model_retired_later_gives_a_next_revision_to_everyone_in_it_and_to_nobody_else(world):
    world.used["R1"] = [MEASURED]
    for number in (0, 1):
        world.withdrawn(number)
    world.hospital.push()
    assert world.pipeline.advance() == 2
    world.retired.add(TRAINED.run)
    world.crash()
    world.pipeline.advance()
    first, second = (one.completion.payload for one in world.standing())
    assert (first["revision"], second["revision"]) == (2, 1)
    assert [one["becomes"] for one in first["models"]] == ["retired", "bounded"]
    world.hospital.clock.at += 61
    world.pipeline.advance()
    assert world.standing()[0].completion.payload["revision"] == 2


def test_a_shard_is_asked_for_again_and_the_next_word_names_what_took_its_place(world):
    for number in (0, 1):
        world.used[f"R{number}"] = [OF_A_SHARD, TRAINED]
        world.withdrawn(number)
    world.hospital.push()
    assert world.pipeline.advance() == 2
    assert set(world.asked) == {OF_A_SHARD.run}  # of a model of everybody nothing is asked
    first = world.standing()[0].completion.payload
    assert (first["retraining"], first["models"][0]["shard"]) == ("wanted", 1)
    world.retired.add(OF_A_SHARD.run)
    world.successors["R0", OF_A_SHARD.run] = NEWER.run  # R1 said yes again, and is in it
    world.crash()
    world.pipeline.advance()
    without, with_it = (one.completion.payload for one in world.standing())
    assert without["models"][0]["becomes"] == "retrained"
    assert (without["models"][0]["successor"], without["retraining"]) == (NEWER.run, "done")
    assert with_it["models"][0]["becomes"] == "retired"
    assert (with_it["retraining"], with_it["revision"]) == ("wanted", 2)


def test_whoever_was_in_two_runs_of_a_shard_waits_for_the_newer_one(world):
    world.used["R0"] = [OF_A_SHARD, NEWER]
    world.retired.add(OF_A_SHARD.run)
    world.withdrawn()
    world.hospital.push()
    world.pipeline.advance()
    said = world.standing()[0].completion.payload
    assert [one["becomes"] for one in said["models"]] == ["retired", "bounded"]
    assert (said["retraining"], world.asked) == ("wanted", [NEWER.run])


def test_a_ledger_that_takes_no_wish_holds_up_no_last_word(world):
    world.used["R0"], world.refuses = [OF_A_SHARD], True
    world.withdrawn()
    world.hospital.push()
    assert world.pipeline.advance() == 1
    assert world.standing()[0].completion.payload["retraining"] == "refused"


def test_many_at_once_go_on_in_parts_and_none_is_forgotten(world, monkeypatch):
    monkeypatch.setattr(pipeline, "AT_ONCE", 3)
    for number in range(4):
        world.withdrawn(number)
    world.hospital.push()
    done = []
    while sum(done) < 4:
        done.append(world.pipeline.advance())
    assert max(done) <= 2  # listing one and completing it are two
    world.retired.add(TRAINED.run)
    world.hospital.clock.at += 61
    for _ in range(4):
        world.pipeline.advance()
    assert {one.completion.payload["revision"] for one in world.standing()} == {2}
    assert len(world.entered) == 8


def test_a_patient_who_had_nothing_on_the_ledger_gets_a_last_word_too(world):
    patient = Patient(world.hospital)
    patient.withdraws_by_code()
    assert world.pipeline.advance() == 1
    (one,) = world.standing()
    assert one.completion.payload["on_ledger"] is False
    assert one.completion.payload["study"] == STUDY.id32.hex()


def test_no_record_number_stands_in_the_file(world):
    world.hospital.records[0] = "MRN-000777"
    world.used["MRN-000777"] = [TRAINED]
    world.withdrawn()
    world.hospital.push()
    world.pipeline.advance()
    world.completions.store.close()
    assert b"MRN-000777" not in world.path.read_bytes()
    world.completions = Completions(world.path)
