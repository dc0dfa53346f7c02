"""Which releases a patient's data was set aside for. Known at this node only, under sealed names.

The patients' accounts keep one bit for each patient and release, under a name that only the site
key makes. Set aside is the most that can be: who withdrew before the first step, or in the middle,
is in fewer steps or none, and the whole price stays charged.
"""

from __future__ import annotations

import math
from pathlib import Path

from consent.completions import Used
from hospital_node import accounts
from hospital_node.privacy import tombstones
from hospital_node.privacy.lifetime import LIFETIME_DELTA, Lifetime
from hospital_node.settings import FILE, NodeSettings
from twinward import gdp
from twinward.ids import RecordNumber
from twinward.organisation import Organisation
from twinward.settings import load
from twinward.signing import Identity

_TRAINING, _EVALUATION = "training of ", "evaluation of "
_PICO = 1e12


def training_of(study: str) -> str:
    """What a run is called in the patients' accounts."""
    return _TRAINING + study


def evaluation_of(study: str) -> str:
    """What measuring a model is called there."""
    return _EVALUATION + study


def of(lifetime: Lifetime, identity: Identity, record: RecordNumber) -> tuple[Used, ...]:
    """Every release that this patient was charged for, oldest name first.

    A release that the accounts have forgotten counts for everyone; its study is then not known.
    """
    (name,) = tombstones.names(identity.derive(tombstones.PURPOSE), [record])
    return tuple(
        Used(
            run=part.run,
            study=_study(part.what),
            trains=part.what.startswith(_TRAINING),
            epsilon=round(gdp.epsilon_of(math.sqrt(part.pico_mu2 / _PICO), LIFETIME_DELTA), 4),
            delta=LIFETIME_DELTA,
        )
        for part in lifetime.parts_of(name)
        if part.pico_mu2
    )


def here(folder: Path, record: RecordNumber) -> tuple[Used, ...]:
    """The same, read from the files of a node that is not running.

    Raises:
        BudgetError: TW4106, another process has the accounts; TW4107, TW4311.
    """
    if not (folder / "state" / "accounts.sqlite").exists():
        return ()
    settings, identity = load(NodeSettings, folder / FILE), Organisation(folder).identity()
    lifetime = accounts.open_(folder, settings, identity, [])
    try:
        return of(lifetime, identity, record)
    finally:
        lifetime.close()


def _study(what: str) -> str | None:
    for prefix in (_TRAINING, _EVALUATION):
        if what.startswith(prefix):
            return what.removeprefix(prefix)
    return None
