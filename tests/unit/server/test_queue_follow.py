"""Following a study of the queue: without a coordinator, and to an end without a model."""

from contextlib import closing

import pytest

from server import queue_follow, settings
from server.paths import ServerPaths
from server.study_queue import PARKED, StudyQueue
from twinward.errors import TrainingError
from twinward.ids import OrgName


@pytest.fixture
def folder(tmp_path):
    settings.write(
        tmp_path / settings.FILE,
        settings.ServerSettings(
            org=OrgName("coordinator"), network="demo", network_port=1, flower_port=2, ledger_port=3
        ),
    )
    return tmp_path


def test_it_waits_where_no_coordinator_is_up_and_ends_with_the_cause_of_the_entry(folder):
    with closing(StudyQueue(ServerPaths(folder).queue)) as queue:
        number = queue.add("heart-risk").number
        events = queue_follow.follow(folder, queue, number)
        first = next(events)
        assert (first["event"], first["number"], first["state"]) == ("queue", number, "waiting")
        assert next(events) == {"event": "coordinator-away"}
        queue.take()
        assert next(events)["state"] == "running"  # and nothing is told twice
        queue.ended(number, PARKED, code="TW6100", cause="too few hospitals")
        assert next(events)["code"] == "TW6100"
        with pytest.raises(TrainingError) as refused:
            next(events)
    assert refused.value.code == "TW6238"
    assert "[TW6100] too few hospitals" in refused.value.diagnostic.note
