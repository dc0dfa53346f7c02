"""The policy as a running node holds it: read anew each time it is asked, its changes on record.

A changed file is entered in the node's audit log, with its hash and what changed, before it decides
anything; what cannot be entered decides nothing. Where there is no readable policy every run is
refused, and a run under way ends at its next step; withdrawals and the desk go on.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

from hospital_node import approvals, kill_switch, policy_code
from hospital_node.audit_log import NodeAudit
from hospital_node.paths import NodePaths
from hospital_node.policy import require
from hospital_node.policy_file import PolicyFile, differences, parse, read
from hospital_node.policy_rules import Asked, Moment
from hospital_node.policy_terms import SitePolicy
from hospital_node.privacy.book import BudgetBook
from ledger.audit import fhir
from ledger.audit.log import Happened
from twinward.clock import Clock
from twinward.errors import TwinwardError, UsageError
from twinward.files import write_atomic
from twinward.ids import OrgName, RunId
from twinward.plan import Plan, evaluation_run

_MOST_CHANGES_SHOWN = 40


class SiteRules:
    """What the hospital's policy says of plans, at this moment. Thread-safe.

    Args:
        folder: The node's folder.
        org: This hospital.
        book: Counts the runs that were begun here.
        audit: Where changes of the policy are entered.
        clock: Unix seconds.
    """

    def __init__(
        self, folder: Path, *, org: OrgName, book: BudgetBook, audit: NodeAudit, clock: Clock
    ) -> None:
        self._folder = folder
        self._org = org
        self._book = book
        self._audit = audit
        self._clock = clock
        self._lock = threading.Lock()
        self._seen = NodePaths(folder).policy_seen
        self._held: PolicyFile | None = None
        self._trouble: str | None = None

    def current(self) -> SitePolicy:
        """The policy as it stands in its file now.

        Raises:
            UsageError: TW7300, TW7301, TW7306: there is none that can be read.
            LedgerError: TW3601, TW3610, its change cannot be entered in the audit log.
        """
        return self._current().policy

    def require(
        self,
        approved: approvals.Approved,
        *,
        at: Moment,
        run: RunId,
        cohort: int | None = None,
    ) -> None:
        """Refuse what the policy of this moment does not permit.

        Args:
            approved: Study and plan.
            at: A run begins, or a vector is about to be made.
            run: Which run; it does not count against the cap on runs itself.
            cohort: How many patients it would begin with.

        Raises:
            TrainingError: TW6222, the kill switch is on; the rule that refuses, see
                ``policy.require``.
            UsageError: As ``current``.
        """
        kill_switch.require_off(self._folder)
        site = self.current()
        asked = Asked(
            plan=approved.plan,
            org=self._org,
            now=self._clock.now(),
            code=policy_code.installed() if site.code else None,
            runs=len(self._begun(approved.plan) - {run}),
            signed_by=(
                approvals.signers(self._folder, approved, site, org=self._org)
                if site.approvals
                else None
            ),
            cohort=cohort,
        )
        require(site, asked, at=at)

    def least(self, approved: approvals.Approved) -> int:
        """Fewest patients with whom a run of this study may begin."""
        site = self.current()
        study = site.of(approved.study.name)
        return site.minimum_cohort if study is None else site.least(study)

    def standing(self) -> dict[str, Any]:
        """For the hospital's own staff: whether there is a policy, and which."""
        try:
            held = self._current()
        except TwinwardError as error:
            return {"digest": None, "trouble": error.diagnostic.as_json()}
        site = held.policy
        return {
            "digest": held.digest,
            "take_part": site.take_part,
            "open_now": site.open_at(self._clock.now()),
            "approvals": site.approvals,
            "trouble": None,
        }

    def _begun(self, plan: Plan) -> set[RunId]:
        """Runs of a plan that began here; measuring their models is no run of its own."""
        runs = self._book.runs_of(plan.digest)
        return runs - {RunId(evaluation_run(bytes.fromhex(run)).hex()) for run in runs}

    def _current(self) -> PolicyFile:
        with self._lock:
            try:
                found = read(self._folder, known=self._held)
            except UsageError as error:
                if self._trouble != error.code:
                    self._audit.did("policy-changed", failure=error.code)
                self._held, self._trouble = None, error.code
                raise
            if found is not self._held:
                self._enter(found)
                self._held, self._trouble = found, None
            return found

    def _enter(self, found: PolicyFile) -> None:
        """Enter a policy that is new; dying before the copy is written enters it twice."""
        known = self._seen.read_bytes() if self._seen.is_file() else b""
        if known == found.data and self._trouble is None:
            return
        before: dict[str, Any] = {}
        with contextlib.suppress(UsageError):
            before = parse(known).model_dump(mode="json") if known else {}
        said = differences(before, found.policy.model_dump(mode="json"))
        about = (f"policy:{found.digest}",)
        body = fhir.activity(
            org=self._org,
            what="policy-changed",
            by="urn:twinward:node:node",
            about=about,
            at=self._clock.now(),
        )
        words = "\n".join(said[:_MOST_CHANGES_SHOWN]) or "as it was before"
        self._audit.log.enter(
            [Happened("policy-changed", {**body, "outcomeDesc": words}, (*about, "outcome:done"))]
        )
        write_atomic(self._seen, found.data, mode=0o600)
