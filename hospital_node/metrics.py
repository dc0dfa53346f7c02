"""What monitoring may see of a node: processes, ages, disk. No figure depends on a patient.

Left out on purpose: cohorts, spend, patients, letters, and the audit log's number of entries, which
grows by one for each patient who is used.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hospital_node import watch
from twinward import __version__
from twinward.errors import TwinwardError


class NodeMetrics(Collector):
    """Asks the daemon at each scrape; a daemon that does not answer is ``twinward_up 0``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """The families, by name."""
        yield _gauge("disk_free_bytes", "Free where the node writes", self._free())
        release = GaugeMetricFamily("twinward_release", "Release of this program", labels=("is",))
        release.add_metric((__version__,), 1)
        yield release
        try:
            found = watch.status(self._folder)
        except TwinwardError:
            yield _gauge("up", "Whether the daemon answers", 0)
            return
        yield _gauge("up", "Whether the daemon answers", 1)
        yield _gauge("healthy", "Whether the node could take part in a run", found["healthy"])
        supernode, ledger = found["supernode"], found["ledger"]
        yield _gauge("supernode_online", "Whether Flower's process is there", supernode["online"])
        yield _gauge("supernode_restarts", "Times it was started again", supernode["restarts"])
        yield _gauge("ledger_block", "Newest block of the copy of the consents", ledger["block"])
        yield _gauge("ledger_witnesses", "Hospitals that co-sign blocks", ledger["witnesses"])
        if ledger["confirmed_seconds_ago"] is not None:
            yield _gauge(
                "mirror_age_seconds", "Age of the copy of the consents",
                ledger["confirmed_seconds_ago"],
            )  # fmt: skip
        yield _gauge(
            "audit_oldest_not_anchored_seconds", "Oldest entry that is not on the ledger",
            found["audit"]["oldest_not_anchored_seconds"],
        )  # fmt: skip
        running = found["running"]
        yield _gauge("run_active", "Whether a run is under way", running is not None)
        if running is not None and running["next_step"] is not None:
            yield _gauge("run_next_step", "Step whose cohort is drawn next", running["next_step"])
        troubles = GaugeMetricFamily("twinward_trouble", "What is wrong now", labels=("code",))
        for trouble in (ledger["trouble"], found["policy"]["trouble"]):
            if trouble is not None:
                troubles.add_metric((trouble["code"],), 1)
        yield troubles

    def _free(self) -> int:
        return shutil.disk_usage(self._folder).free


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"twinward_{name}", about, value=float(value))
