"""The gate: what is not on the list does not leave, and what leaves is written down first."""

import json

import pytest

from hospital_node.egress import ALLOWED, Egress
from twinward.clock import FixedClock
from twinward.errors import InternalError


@pytest.fixture
def gate(tmp_path):
    egress = Egress(tmp_path / "egress.jsonl", clock=FixedClock(1_800_000_000))
    yield egress
    egress.close()


def entries(tmp_path):
    return [json.loads(line) for line in (tmp_path / "egress.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("way", sorted(ALLOWED))
def test_every_allowed_message_passes_up_to_its_size_and_not_beyond(gate, tmp_path, way):
    channel, kind = way
    gate.let_out(channel, kind, to="somebody", size=ALLOWED[way])
    with pytest.raises(InternalError) as refused:
        gate.let_out(channel, kind, to="somebody", size=ALLOWED[way] + 1)
    assert refused.value.code == "TW9001"
    assert [(one["channel"], one["kind"], one["bytes"]) for one in entries(tmp_path)] == [
        (channel, kind, ALLOWED[way])
    ]


@pytest.mark.parametrize(
    "way",
    [("mail", "masked"), ("secure-sum", "weights"), ("flower", "masked"), ("ledger", "cohort"),
     ("", ""), ("secure-sum", "")],
)  # fmt: skip
def test_an_unknown_way_out_is_closed(gate, tmp_path, way):
    with pytest.raises(InternalError) as refused:
        gate.let_out(*way, to="somebody", size=0)
    assert refused.value.code == "TW9001"
    assert entries(tmp_path) == []


def test_it_is_on_paper_before_it_is_sent(gate, tmp_path):
    gate.let_out("secure-sum", "masked", to="coordinator", size=320)
    assert entries(tmp_path) == [
        {
            "at": "2027-01-15T08:00:00Z",
            "channel": "secure-sum",
            "kind": "masked",
            "to": "coordinator",
            "bytes": 320,
        }
    ]


def test_a_log_that_cannot_be_written_stops_the_message(tmp_path):
    egress = Egress(tmp_path / "egress.jsonl", clock=FixedClock(0))
    egress.close()
    with pytest.raises(ValueError, match="closed"):
        egress.let_out("secure-sum", "masked", to="coordinator", size=1)


def test_the_log_is_the_hospitals_alone_and_is_continued(tmp_path):
    for size in (1, 2):
        egress = Egress(tmp_path / "egress.jsonl", clock=FixedClock(0))
        egress.let_out("desk", "reply", to="patient", size=size)
        egress.close()
    assert [one["bytes"] for one in entries(tmp_path)] == [1, 2]
    assert (tmp_path / "egress.jsonl").stat().st_mode & 0o077 == 0
