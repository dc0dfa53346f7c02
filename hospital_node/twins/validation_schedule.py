"""Validation at fixed times: what is due is measured, what is not on the ledger is brought there.

A thread of the daemon. All that it works from lies in ``state/validation`` (``validation_files``),
so after a crash it goes on where files say it was. While a run is under way nothing is measured: a
run has deadlines, a validation has days.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hospital_node.twins import validation_files, validation_here, validation_ledger
from hospital_node.twins.validation_files import Kept, Reports
from ledger.endpoint import Endpoint
from twinward.errors import InternalError, TwinwardError
from twinward.logging import log
from twinward.ticking import Ticking

if TYPE_CHECKING:
    from hospital_node.node import Node

_TICK_SECONDS = 1.0
_AGAIN_SECONDS = 10.0
"""After a refusal the same thing is not tried again before this."""


class Revalidation(Ticking):
    """Makes the reports that are due and records the others, until it is stopped.

    Args:
        node: The running node.
    """

    def __init__(self, node: Node) -> None:
        super().__init__("validation", every_seconds=_TICK_SECONDS, code="TW7180")
        self._node = node
        self._rpc = Endpoint.of(node.founding, node.folder).rpc()
        self._every_days = node.settings.revalidate_days
        self._not_before: dict[Path, float] = {}

    def stop(self) -> None:
        """End after the report under way; one that takes longer is made anew at the next start."""
        super().stop()
        self._rpc.close()

    def tick(self) -> None:
        """Look once at everything."""
        now = self._node.clock.now()
        for reports in validation_files.everything(self._node.folder):
            if reports.is_due(now=now, every_days=self._every_days) and self._node.run is None:
                self._try(reports.folder, lambda: self._measure(reports), reports)  # noqa: B023
            for kept in reports.all():
                if not kept.proof.exists():
                    self._try(kept.path, lambda: self._record(kept), None)  # noqa: B023

    def failed(self, error: TwinwardError) -> None:
        """Say so in the log."""
        log().warning(
            "reports cannot be looked at", code=error.code, reason=error.diagnostic.message
        )

    def _measure(self, reports: Reports) -> None:
        if reports.twin is not None:
            validation_here.of_patients(self._node.folder, reports.twin, clock=self._node.clock)
        else:
            from hospital_node.twins import validation_node  # noqa: PLC0415 - imports the evaluation

            validation_node.validate(self._node, reports)

    def _record(self, kept: Kept) -> None:
        validation_ledger.record(self._node, self._rpc, kept)

    def _try(self, what: Path, work: Callable[[], object], reports: Reports | None) -> None:
        now = self._node.clock.now()
        if self._ended.is_set() or now < self._not_before.get(what, 0.0):
            return
        try:
            work()
        except TwinwardError as error:
            refused = error
        except Exception as error:  # noqa: BLE001 - a thread that dies silently helps nobody
            refused = InternalError(
                f"a validation met an unexpected {type(error).__name__}",
                code="TW7180",
                note=str(error)[:300],
                help="no report was made; report it with this node's log",
            )
        else:
            return
        self._not_before[what] = now + _AGAIN_SECONDS
        if reports is not None:
            before = reports.trouble()
            if before is None or before["code"] != refused.code:
                log().warning("not validated", code=refused.code, reason=refused.diagnostic.message)
            reports.failed(refused)
