"""What a hospital agrees to: signed by the coordinator, within its own limits, or not at all."""

import dataclasses
import shutil

import pytest

from consent.study import KIND as STUDY_KIND
from consent.study import OptionalCategory, Study
from hospital_node import approvals, membership
from hospital_node.policy import require
from hospital_node.policy_rules import Asked, Moment
from hospital_node.policy_terms import SitePolicy, StudyPolicy
from hospital_node.settings import FILE, NodeSettings, write
from server import studies
from tests.simulators.founding import NOW, Paper
from twinward.errors import TwinModelError, TwinwardError
from twinward.plan import FedAvg
from twinward.signing import Document, Identity

NAME = "heart-risk"
POLICY = StudyPolicy(study=NAME, models=("cardiac_risk/1",), purposes=("heart-research",))


class World:
    """A founded network on paper with one study."""

    def __init__(self, folder):
        self.paper = Paper(folder)
        self.founding = self.paper.found()
        self.identity = self.paper.home.identity()
        self.study, self.plan = studies.make(
            studies.template(NAME),
            name=NAME,
            founding=self.founding,
            epsilon=1.0,
            slot_seconds=0.02,
            expected_patients=None,
            now=NOW,
        )
        self.folder = self.paper.members["harbour"].folder

    def files(self, *, study=None, plan=None, identity=None):
        identity = identity or self.identity
        document = Document(STUDY_KIND, (study or self.study).to_json()).signed_by(identity)
        return document.encode(), (plan or self.plan).to_document().signed_by(identity).encode()

    def approve(self, files=None, *, by=None, site=None, **limits):
        return approvals.approve(
            self.folder,
            *(files or self.files()),
            founding=self.founding,
            policy=self.policy(**limits) if site is None else site,
            org="harbour",
            now=NOW,
            by=by,
        )

    @staticmethod
    def policy(**limits):
        return SitePolicy(studies=(POLICY.model_copy(update=limits),))


def permit(plan, site):
    """Ask as when a plan is approved."""
    require(site, Asked(plan, "harbour", NOW), at=Moment.PLAN)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("paper"))


@pytest.fixture(autouse=True)
def nothing_approved(world):
    yield
    shutil.rmtree(world.folder / "studies", ignore_errors=True)


def refused(code, call, *args, **kwargs):
    with pytest.raises(TwinwardError) as refusal:
        call(*args, **kwargs)
    assert refusal.value.code == code
    return refusal.value.diagnostic


def test_what_was_approved_is_found_again_byte_for_byte(world):
    files = world.files()
    world.approve(files)
    place = world.folder / "studies" / NAME
    assert ((place / "study.json").read_bytes(), (place / "plan.json").read_bytes()) == files
    assert approvals.names(world.folder) == [NAME]
    loaded = approvals.load(world.folder, NAME, founding=world.founding)
    assert loaded.plan.digest == world.plan.digest


def test_a_study_that_was_not_approved_is_not_there(world):
    refused("TW6004", approvals.load, world.folder, NAME, founding=world.founding)
    assert approvals.names(world.folder) == []


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"max_epsilon": 0.9}, "max_epsilon"),
        ({"max_evaluation_epsilon": 0.5}, "max_evaluation_epsilon"),
        ({"max_steps": 32}, "max_steps"),
        ({"models": ("other/1",)}, "models"),
        ({"purposes": ("care",)}, "purposes"),
        ({"grades": ("staff-attested",)}, "grades"),
    ],
)
def test_a_plan_beyond_a_limit_is_refused_and_the_limit_is_named(world, limits, named):
    said = refused("TW6003", world.approve, **limits)
    assert named in said.message
    assert NAME in said.at
    assert approvals.names(world.folder) == []


def test_all_spare_attempts_count_against_the_limit_of_steps(world):
    assert world.plan.attempts == 33
    world.approve(max_steps=33)
    refused("TW6003", world.approve, max_steps=32)


def test_updates_leave_without_masks_only_where_the_hospital_agreed_to_it(world):
    local = FedAvg(3, 0.1, 0.0, 2.0, 0.0, visible_updates=True, rule="norm_bound")
    plan = dataclasses.replace(world.plan, aggregate="fedavg", fedavg=local)
    said = refused("TW6003", permit, plan, world.policy())
    assert "visible_updates" in said.message
    hidden = dataclasses.replace(local, visible_updates=False, rule="mean")
    permit(dataclasses.replace(plan, fedavg=hidden), world.policy())
    permit(plan, world.policy(visible_updates=True))


def test_a_study_that_the_hospital_does_not_take_part_in_is_refused(world):
    refused("TW6002", world.approve, study="another-study")


def test_a_plan_for_other_hospitals_is_refused(world):
    elsewhere = dataclasses.replace(world.plan, sites=("meadow", "station", "summit"))
    said = refused("TW6003", permit, elsewhere, world.policy())
    assert "org" in said.message


def test_files_that_the_coordinator_did_not_sign_are_refused(world):
    stranger = Identity.generate()
    refused("TW2004", world.approve, world.files(identity=stranger))
    study, _ = world.files()
    _, plan = world.files(identity=world.paper.members["meadow"].identity())
    refused("TW2004", world.approve, (study, plan))


def test_a_study_and_a_plan_that_do_not_belong_together_are_refused(world):
    other = dataclasses.replace(world.study, name="another-study")
    refused("TW1037", world.approve, world.files(study=other))
    elsewhere = dataclasses.replace(world.plan, network="ab" * 32)
    refused("TW1037", world.approve, world.files(plan=elsewhere))


def test_a_model_that_is_described_otherwise_than_it_is_installed_is_refused(world):
    spec = {**world.plan.model_spec, "extra": 1}
    refused(
        "TW7005", world.approve, world.files(plan=dataclasses.replace(world.plan, model_spec=spec))
    )


def test_a_plan_that_was_changed_on_the_hospitals_disk_is_noticed(world):
    world.approve()
    path = world.folder / "studies" / NAME / "plan.json"
    path.write_bytes(path.read_bytes().replace(b'"epsilon":1,', b'"epsilon":9,'))
    refused("TW2002", approvals.load, world.folder, NAME, founding=world.founding)


@pytest.mark.parametrize("name", ["../secrets", "a/b", "", "x" * 100, "Ä"])
def test_a_name_that_leads_elsewhere_on_the_disk_is_refused(world, name):
    with pytest.raises(TwinwardError):
        approvals.load(world.folder, name, founding=world.founding)


def test_a_hospital_signs_only_a_file_with_its_own_keys(tmp_path):
    paper = Paper(tmp_path)
    home = paper.members["harbour"]
    write(
        home.folder / FILE,
        NodeSettings(org="harbour", data=tmp_path / "d", desk_port=9500, flower_port=9501),
    )
    draft = paper.draft()
    signed, founding = membership.sign(home.folder, draft)
    assert founding.member("harbour").identity == home.identity().public
    assert Document.decode(signed.read_bytes(), kind="twinward/founding/v1").signatures

    (tmp_path / "elsewhere").mkdir()
    impostor = Paper(tmp_path / "elsewhere")
    refused("TW2013", membership.sign, home.folder, impostor.draft())
    without = impostor.draft([*impostor.requests()[1:], _request(impostor, "summit")])
    refused("TW2010", membership.sign, home.folder, without)


def _request(paper, name):
    path = paper.organisation(name).request_file(name)
    return path.read_bytes(), str(path)


def test_a_study_is_told_by_its_salt_even_under_the_same_name(world):
    again, _ = studies.make(
        studies.template(NAME), name=NAME, founding=world.founding, epsilon=1.0,
        slot_seconds=0.02, expected_patients=None, now=NOW,
    )  # fmt: skip
    assert isinstance(again, Study)
    assert again.id32 != world.study.id32


def test_a_plan_is_never_replaced_under_its_name(world):
    home = world.paper.home.folder
    studies.publish(home, world.study, world.plan, identity=world.identity)
    refused("TW1036", studies.publish, home, world.study, world.plan, identity=world.identity)
    loaded = studies.load(home, NAME, identity=world.identity.public)
    assert loaded.plan.digest == world.plan.digest
    refused("TW1039", studies.load, home, "unknown", identity=world.identity.public)
    refused("TW1038", studies.template, "unknown")
    refused("TW2004", studies.load, home, NAME, identity=Identity.generate().public)


def test_a_study_that_lets_patients_leave_out_what_the_model_needs_is_refused(tmp_path):
    world = World(tmp_path)
    for column in ("num", "weight"):
        needed = (OptionalCategory("heart examinations", ("thal", column)),)
        with pytest.raises(TwinModelError) as refused:
            world.approve(world.files(study=dataclasses.replace(world.study, optional=needed)))
        assert refused.value.code == "TW7006"
    assert not (world.folder / "studies").exists()


def test_a_coordinator_makes_no_study_whose_model_needs_what_can_be_left_out(tmp_path):
    world = World(tmp_path)
    template = dataclasses.replace(
        studies.template("glucose-forecast"), optional={"glucose readings": ("glucose",)},
        categories=("glucose readings", "age"),
    )  # fmt: skip
    with pytest.raises(TwinModelError) as refused:
        studies.make(
            template, name="glucose", founding=world.founding, epsilon=1.0, slot_seconds=0.02,
            expected_patients=None, now=NOW,
        )  # fmt: skip
    assert refused.value.code == "TW7006"
