"""What monitoring may see of a coordinator: processes, members online, queue, disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server import watch
from server.study_queue import WAITING
from twinward import __version__
from twinward.errors import TwinwardError


class CoordinatorMetrics(Collector):
    """Asks the daemon at each scrape; a daemon that does not answer is ``twinward_up 0``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """The families, by name."""
        free = shutil.disk_usage(self._folder).free
        yield _gauge("disk_free_bytes", "Free where the coordinator writes", free)
        release = GaugeMetricFamily("twinward_release", "Release of this program", labels=("is",))
        release.add_metric((__version__,), 1)
        yield release
        try:
            found = watch.status(self._folder)
        except TwinwardError:
            yield _gauge("up", "Whether the daemon answers", 0)
            return
        yield _gauge("up", "Whether the daemon answers", 1)
        yield _gauge("run_active", "Whether a run is under way", found["running"] is not None)
        if found["progress"]:
            yield _gauge("run_step", "Newest step of it", found["progress"]["step"])
        queue = found["queue"]
        waiting = sum(one["state"] == WAITING for one in queue["entries"])
        yield _gauge("queue_waiting", "Studies that wait for their run", waiting)
        yield _gauge(
            "queue_oldest_waiting_seconds", "For how long the first of them waits",
            queue["oldest_waiting_seconds"],
        )  # fmt: skip
        if found["ledger"]["block"] is not None:
            yield _gauge("ledger_block", "Newest block", found["ledger"]["block"])
        yield _gauge(
            "ledger_witnesses", "Hospitals that co-sign blocks", found["ledger"]["witnesses"]
        )
        yield _gauge(
            "audit_oldest_not_anchored_seconds", "Oldest entry that is not on the ledger",
            found["audit"]["oldest_not_anchored_seconds"],
        )  # fmt: skip
        online = GaugeMetricFamily(
            "twinward_member_online", "Whether Flower sees the member", labels=("org",)
        )
        for member in found["members"]:
            if member["role"] == "hospital":
                online.add_metric((member["org"],), member["online"])
        yield online


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"twinward_{name}", about, value=float(value))
