"""Whether this release can take over a node's folder; looks, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from twinward import forms

if TYPE_CHECKING:
    from twinward.doctor.findings import Finding

FORMS: Final[Mapping[str, int]] = {
    "state/vault.sqlite": 3,
    "state/mirror.sqlite": 2,
    "state/budget.sqlite": 4,
    "state/accounts.sqlite": 1,
    "state/completions.sqlite": 1,
    "state/notices.sqlite": 1,
    "state/fhir.sqlite": 2,
    "state/votes.sqlite": 1,
    "state/twins.sqlite": 1,
    "state/patients.sqlite": 1,
    "state/audit/audit.sqlite": 1,
    "state/audit/heads.sqlite": 1,
    "state/audit/bodies.sqlite": 0,
    "state/audit/keys.sqlite": 0,
    "state/ledger/chain.sqlite": 1,
    "state/ledger/events.sqlite": 0,
    "state/ledger/network*.sqlite": 1,
    "state/portal/sealed_keys.sqlite": 1,
    "state/portal/sessions.sqlite": 0,
}
"""The newest form of each database that this release reads; a test holds them to what it writes."""

_CHECKS = ("packages", "Flower gate", "configuration", "policy", "secrets", "founding file",
           "approved plans")  # fmt: skip


def require_known(folder: Path) -> None:
    """Require that no database of the node is of a newer release; before the node is opened.

    Raises:
        EvidenceError: TW7408.
    """
    forms.require_known(folder, FORMS)


def examine(folder: Path) -> tuple[list[forms.Form], list[Finding]]:
    """The form of each database, and what `node doctor` says that depends on the release."""
    from hospital_node.doctor.checks import CHECKS  # noqa: PLC0415 - `node up` needs the forms only
    from hospital_node.doctor.site import Site  # noqa: PLC0415
    from twinward.doctor.findings import examine as run  # noqa: PLC0415

    checks = [check for check in CHECKS if check.name in _CHECKS]
    return forms.examine(folder, FORMS), list(run(Site(folder), checks))
