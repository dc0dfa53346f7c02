"""Which twins are installed: one line each. Risk models of the network stand in ``registry``."""

from __future__ import annotations

from collections.abc import Mapping

from models.baseline.twin import HEARTBEAT, VITALS, WELLNESS
from models.census.beds import BedCount
from models.census.twin import CensusTwin
from models.glucose.twin import GlucoseTwin
from models.glucose_forecast.twin import GlucoseForecast
from models.haemodynamic.twin import HaemodynamicTwin
from models.twin import Twin
from twinward.errors import TwinModelError

_TWINS: Mapping[str, Twin] = {
    twin.spec.name: twin
    for twin in (
        GlucoseTwin(),
        GlucoseForecast(),
        VITALS,
        WELLNESS,
        HEARTBEAT,
        HaemodynamicTwin(),
        CensusTwin(),
        BedCount(),
    )
}


def names() -> tuple[str, ...]:
    """The twins that are installed here."""
    return tuple(_TWINS)


def get(name: str) -> Twin:
    """The installed twin of this name and version.

    Raises:
        TwinModelError: TW7115, it is not installed here.
    """
    try:
        return _TWINS[name]
    except KeyError as error:
        raise TwinModelError(
            f"the twin `{name}` is not installed here",
            code="TW7115",
            help=f"use one of: {', '.join(_TWINS)}; or install the release that has it",
        ) from error
