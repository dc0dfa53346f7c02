"""Of two nodes with other patients, in the same health, monitoring sees the same."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from hospital_node import metrics, watch
from twinward.errors import UsageError

PATIENTS = {"patients", "studies", "budget", "validation", "not_on_ledger"}
"""What `node status` tells that comes from patients."""


def status(scale):
    return {
        "org": "basel", "pid": 1, "network": "n", "healthy": True,
        "policy": {"trouble": None},
        "supernode": {"online": True, "restarts": 0},
        "ledger": {"block": 7, "head": "00", "confirmed_seconds_ago": 1.0, "witnesses": 2,
                   "witness": None, "trouble": {"code": "TW3104", "message": f"{scale} patients"}},
        "audit": {"entries": 3 * scale, "not_anchored": scale, "oldest_not_anchored_seconds": 5},
        "running": {"next_step": 3},
        "patients": scale, "not_on_ledger": ["x"] * scale,
        "studies": [{"study": "s", "plan": "p", "cohort": scale}],
        "budget": {"epsilon_spent": scale, "patients_nearly_spent": scale},
        "validation": [{"what": "w", "alarms": [scale]}],
    }  # fmt: skip


def told(folder, monkeypatch, found):
    def answer(_folder):
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(watch, "status", answer)
    monkeypatch.setattr(metrics.NodeMetrics, "_free", lambda _: 1)
    registry = CollectorRegistry()
    registry.register(metrics.NodeMetrics(folder))
    return generate_latest(registry).decode()


def test_nothing_in_it_depends_on_patients(tmp_path, monkeypatch):
    few, many = status(11), status(4711)
    assert {key for key in few if few[key] != many[key]} >= PATIENTS
    text = told(tmp_path, monkeypatch, few)
    assert text == told(tmp_path, monkeypatch, many)
    assert 'twinward_trouble{code="TW3104"} 1.0' in text
    assert "twinward_mirror_age_seconds 1.0" in text
    assert "4711" not in text


@pytest.mark.parametrize("code", ["TW1040", "TW1041"])
def test_a_daemon_that_does_not_answer_is_down(tmp_path, monkeypatch, code):
    text = told(tmp_path, monkeypatch, UsageError("gone", code=code, help=""))
    assert "twinward_up 0.0" in text
    assert "twinward_healthy" not in text
