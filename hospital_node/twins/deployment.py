"""What this hospital's twins start from: released and taken over, gated here, or public.

A release is kept as it came. What the hospital makes of it with its own patients (whether it helps
here, the centre's own layer) is kept beside it and never leaves. Twins name what they were made
from, so an old one can still be explained after a new release.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from hospital_node.twins.populations import Populations
from hospital_node.twins.released import Released
from models import registry
from models.deployment import Deployment
from models.twin import Population, Series, Twin
from twinward.errors import TwinModelError

PUBLIC = "public"
_RELEASED, _IN_USE, _REFUSED = "released", "in-use", "refused"
_NO_HELP = "TW7139"


def take_over(populations: Populations, released: Released) -> None:
    """Keep a release; what twins start from does not change before ``deploy``."""
    populations.keep(released.prior.twin, released.digest, released.population, use=_RELEASED)


def deploy(populations: Populations, name: str, histories: Sequence[Series]) -> Deployment:
    """Decide anew what twins of this name start from here, by these patients' histories.

    Raises:
        TwinModelError: TW7189, this twin starts from nothing that can be taught; TW7186, too few
            patients to judge; TW7139, it is no help here and from now on not used.
    """
    prior = registry.prior_of(name)
    if prior is None:
        raise TwinModelError(
            f"`{name}` starts from nothing that other patients could teach it",
            code="TW7189",
            help="make twins of it as they are",
        )
    found = populations.last(name, uses=(_RELEASED,))
    released = None if found is None else found[2]
    try:
        made = prior.deployed(released, histories)
    except TwinModelError as error:
        if error.code == _NO_HELP:
            populations.keep(name, _REFUSED, {}, use=_REFUSED)
        raise
    origin = found[0] if found is not None and made.private else PUBLIC
    populations.keep(name, f"{origin}+{_digest(made.population)}", made.population, use=_IN_USE)
    return made


def start(populations: Populations, twin: Twin) -> tuple[str, Population]:
    """Label and arrays that a new twin starts from.

    Raises:
        TwinModelError: TW7139, this hospital looked and it is no help here.
    """
    found = populations.last(twin.spec.name, uses=(_IN_USE, _REFUSED))
    if found is None:
        return PUBLIC, twin.population()
    label, use, arrays = found
    if use == _REFUSED:
        raise TwinModelError(
            f"`{twin.spec.name}` is not used at this hospital: it was no help to its patients",
            code=_NO_HELP,
            help="look again with `twinward twin deploy` when there is more data",
        )
    return label, arrays


def named(populations: Populations, twin: Twin, label: str) -> Population:
    """The population of this label; the public one if it is that, or is no longer there."""
    found = populations.last(twin.spec.name, label=label)
    return twin.population() if found is None else found[2]


def _digest(population: Population) -> str:
    """Short name of exactly these arrays."""
    state = hashlib.sha256()
    for name in sorted(population):
        state.update(name.encode() + b"\0" + population[name].astype("<f8").tobytes())
    return state.hexdigest()[:16]
