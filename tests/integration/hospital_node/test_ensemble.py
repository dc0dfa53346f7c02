"""Models of shards become one over a real ledger; a newer one takes an older one's place."""

import json
from contextlib import closing

import pytest
from click.testing import CliRunner

from hospital_node import retired
from hospital_node.node import connect_ledger
from ledger import verify
from ledger.chain import Kind
from ledger.endpoint import Endpoint
from server import assemble as assembling
from server import order, publish, studies
from server.cli import server as command
from server.ledger_link import LedgerLink
from server.model_card import CardTexts
from server.paths import ServerPaths
from server.release import release
from server.witnesses import Witnesses
from tests.simulators.finished_run import Sums
from twinward import gdp, shards
from twinward.clock import FixedClock
from twinward.shards import ENSEMBLE_KIND
from twinward.signing import Document

STUDY = "heart-risk"
TEXTS = CardTexts(
    title="Risk", kind="risk", intended_use="Research.", limits=("None.",), hyper_parameters="Said."
)


class Trained:
    """A coordinator with a study in two shards, and hospitals that play their runs."""

    def __init__(self, world):
        self.world, self.folder = world, world.paper.home.folder
        (self.folder / "founding.json").write_bytes(world.founding.document.encode())
        self.paths = ServerPaths(self.folder)
        self.identity = world.paper.home.identity()
        self.hospitals = {
            name: (
                member,
                connect_ledger(world.founding, member.ledger_key(), folder=member.folder),
            )
            for name, member in world.paper.members.items()
        }
        study, plan = studies.make(
            studies.template(STUDY), name=STUDY, founding=world.founding, epsilon=1.0,
            slot_seconds=0.02, expected_patients=None, shards=2, now=1.8e9,
        )  # fmt: skip
        studies.publish(self.folder, study, plan, identity=self.identity)
        self.study = studies.load(self.folder, STUDY, identity=self.identity.public)
        world.chain.record(plan.digest, Kind.PLAN, quorum=plan.quorum)
        for _, chain in self.hospitals.values():
            chain.state_cap(10**8)
            chain.approve(plan.digest)

    def train(self, number):
        """A finished and released run of a shard; its name."""
        plan, world = self.study.plan, self.world
        run, named = order.fresh(number)
        ordered = order.signed(
            run, plan, identity=self.identity, clock=FixedClock(1.8e9),
            earlier=publish.earlier_runs(self.paths), parent=None, shard=named,
        )  # fmt: skip
        self.paths.order(run).write_bytes(ordered.encode())
        for _, chain in self.hospitals.values():
            chain.reserve(bytes.fromhex(run), plan=plan.digest, micro_mu2=gdp.micro_mu2(plan.mu**2))
        identities = {name: member.identity() for name, (member, _) in self.hospitals.items()}
        sums = Sums(
            self.paths.transcript(run), identities={"coordinator": self.identity, **identities},
            founding=world.founding, plan=plan, run=bytes.fromhex(run),
        )  # fmt: skip
        sums.rng.bit_generator.advance(1 + int(run[:16], 16))
        sums.begin(sorted(identities))
        for _ in range(plan.steps):
            sums.step()
        sums.close()
        genesis = world.chain.genesis()
        link = LedgerLink(
            world.chain, endpoint=Endpoint.of(world.founding, self.folder), genesis=genesis,
            identity=self.identity, witnesses=Witnesses(genesis=genesis, hospitals={}),
        )  # fmt: skip
        with closing(link), closing(sums.transcript):
            release(
                publish.release_folder(self.paths, run), transcript=sums.transcript,
                founding=world.founding, plan=self.study.plan_document, order=ordered,
                names=[f"w{n}" for n in range(plan.dimension)], texts=TEXTS,
                identity=self.identity, ledger=link,
            )  # fmt: skip
        return run

    def said(self, *words, status=0):
        done = CliRunner().invoke(command, [words[0], str(self.folder), *words[1:], "--json"])
        assert done.exit_code == status, done.output
        return json.loads(done.stdout)

    def report(self, data):
        return verify.verify_bytes(data, founding=self.world.founding.document.encode())


@pytest.fixture(scope="module")
def trained(world):
    made = Trained(world)
    yield made
    for _, chain in made.hospitals.values():
        chain.close()


@pytest.fixture(scope="module")
def first(trained):
    """Both shards, and what they make together."""
    assert trained.said("assemble", STUDY, status=2)["error"]["code"] == "TW6245"
    runs = [trained.train(0), trained.train(1)]
    return runs, trained.said("assemble", STUDY)


def test_the_mean_of_all_shards_is_proved_in_one_file(trained, first):
    runs, made = first
    assert [one["run"] for one in made["members"]] == runs
    data = (trained.folder / made["pack"]).read_bytes()
    report = trained.report(data)
    assert report.ok, report.faults
    assert {"shard 0", "shard 1", "ensemble", "ledger"} <= {one.name for one in report.checks}
    assert trained.world.chain.recorded(bytes.fromhex(made["digest"])) == Kind.MODEL
    assert trained.said("assemble", STUDY) == made


def test_an_ensemble_that_lies_is_found_out(trained, first):
    data = (trained.folder / first[1]["pack"]).read_bytes()
    records, _ = verify.read_archive(data)
    document = Document.decode(records["ensemble.json"], kind=ENSEMBLE_KIND)
    members, model = document.payload["members"], "model.safetensors"

    def fault(**changed):
        report = trained.report(verify.write_archive({**records, **changed}))
        assert not report.ok
        return report.faults[0].code

    def signed(**changed):
        other = Document(ENSEMBLE_KIND, {**document.payload, **changed})
        return {"ensemble.json": other.signed_by(trained.identity).encode()}

    one, two = records["shards/00.zip"], records["shards/01.zip"]
    assert fault(**{"shards/00.zip": two, "shards/01.zip": one}) == "V132"
    assert fault(**{"shards/00.zip": two}) == "V132"
    assert fault(**{"shards/00.zip": one[:-1] + b"x"}) == "V131"
    assert fault(**{"shards/02.zip": one}) == "V130"
    assert fault(**{"more.txt": b"?"}) == "V130"
    assert fault(**{"card.md": b"another"}) == "V130"
    flipped = records[model][:-1] + bytes([records[model][-1] ^ 1])
    assert fault(**{model: flipped}) == "V130"
    assert fault(**signed(members=members[::-1])) == "V132"
    assert fault(**signed(members=members[:1])) == "V130"
    assert fault(**signed(name="00" * 32)) == "V130"
    assert fault(**signed(weights="00" * 32)) == "V133"
    unsigned = Document(ENSEMBLE_KIND, document.payload)
    assert fault(**{"ensemble.json": unsigned.encode()}) == "V130"


def test_a_shard_that_is_wanted_again_is_shown_and_its_new_model_takes_the_place(
    trained, first, monkeypatch
):
    runs, made = first
    chain, founding = trained.world.chain, trained.world.founding
    _, meadow = trained.hospitals["meadow"]
    meadow.record(shards.wanted(bytes.fromhex(runs[1])), Kind.PACK)
    shown = trained.said("shards", STUDY)
    assert [one["wanted_by"] for one in shown["shards"]] == [None, "meadow"]
    assert shown["price"]["epsilon"] == trained.study.plan.epsilon
    again = trained.train(1)

    class Died(Exception):
        pass

    def die(*_, **__):
        raise Died

    for module, line in (
        (assembling.Endpoint, "of"), (assembling, "_pack"), (assembling.shards, "replaced"),
        (assembling.retire, "take_out"),
    ):  # fmt: skip
        with monkeypatch.context() as patched:
            patched.setattr(module, line, die)
            with pytest.raises(Died):
                assembling.assemble(trained.folder, STUDY, clock=FixedClock(1.8e9))
    old, new = bytes.fromhex(runs[1]), bytes.fromhex(again)
    assert retired.is_replaced(chain, founding, old, by=new)  # before it is retired
    assert not retired.is_retired(chain, founding, old)
    done = trained.said("assemble", STUDY)
    assert sorted(done["retired"]) == sorted([runs[1], made["name"]])
    assert [one["run"] for one in done["members"]] == [runs[0], again]
    assert trained.report((trained.folder / done["pack"]).read_bytes()).ok
    for name in (runs[1], made["name"]):
        assert retired.is_retired(chain, founding, bytes.fromhex(name))
    assert not retired.is_retired(chain, founding, bytes.fromhex(runs[0]))
    assert not retired.is_replaced(chain, founding, bytes.fromhex(runs[0]), by=new)
    assert trained.said("assemble", STUDY)["retired"] == []
    shown = trained.said("shards", STUDY)["shards"]
    assert [(one["model"], one["runs"], one["wanted_by"]) for one in shown] == [
        (runs[0], 1, None), (again, 2, None),
    ]  # fmt: skip
    card = (trained.folder / done["folder"] / "card.md").read_text()
    assert f"| 1 | `{again}` | 2 |" in card


def test_an_ensemble_retired_by_hand_does_not_come_back(trained, first):
    made = trained.said("assemble", STUDY)
    words = ("retire", made["name"], "--reason", "for a test", "--yes")
    assert trained.said(*words)["run"] == made["name"]
    assert trained.said("assemble", STUDY, status=2)["error"]["code"] == "TW6246"


def test_a_shard_that_the_plan_does_not_have_is_not_put_into_the_queue(trained, first):
    words = ("shards", STUDY, "--train", "2", "--yes")
    assert trained.said(*words, status=2)["error"]["code"] == "TW6244"
