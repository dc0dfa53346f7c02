"""Validating a twin: at a hospital on its patients who agreed, or anywhere on made-up people."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hospital_node.settings import FILE, NodeSettings
from hospital_node.twins import validation, validation_twin
from hospital_node.twins.cli_arguments import opened
from hospital_node.twins.validation import Release, Report
from hospital_node.twins.validation_files import Kept, Reports
from models import twins
from models.census import made_up, stays
from models.glucose import virtual_diary
from models.twin import Kind, Population, Series, Twin
from twinward.clock import Clock, iso
from twinward.errors import TwinModelError
from twinward.organisation import Organisation
from twinward.settings import load
from twinward.signing import Identity

_DIARY_DAYS, _WARD_DAYS = 6, 400


def of_patients(folder: Path, name: str, *, clock: Clock) -> Kept:
    """Judge a twin on this hospital's patients who agreed and have it; the report stays here.

    Raises:
        TwinModelError: TW7115, no such twin; TW7121, the store was changed; TW7139, it is not used.
        LedgerError: It cannot be entered in the audit log.
    """
    twin = twins.get(name)
    with opened(folder) as service:
        starts, people = service.starts(name), service.histories(name)
    report, alarms = _report(
        twin,
        people,
        starts=starts,
        release=Release.STAYS,
        why="Exact, on patients of this hospital who agreed to a twin for their care.",
        org=load(NodeSettings, folder / FILE).org,
        identity=Organisation(folder).identity(),
        clock=clock,
    )
    return Reports.of(folder, name).keep(report, alarms=alarms)


def of_made_up(name: str, *, people: int, clock: Clock) -> tuple[Report, tuple[str, ...]]:
    """Judge a twin on made-up people or wards: public, and says nothing about medicine.

    Signed by a key that nobody keeps: it proves that the file is whole, and no more.

    Raises:
        TwinModelError: TW7115, no such twin; TW7179, nobody can be made up for it.
    """
    twin = twins.get(name)
    return _report(
        twin,
        _made_up(twin, people),
        starts={"public": twin.population()},
        release=Release.PUBLIC,
        why="Made-up people by published equations; nothing about medicine.",
        org="nobody",
        identity=Identity.generate(),
        clock=clock,
    )


def _report(
    twin: Twin,
    people: Sequence[Series],
    *,
    starts: Mapping[str, Population],
    release: Release,
    why: str,
    org: str,
    identity: Identity,
    clock: Clock,
) -> tuple[Report, tuple[str, ...]]:
    spec, seeds = twin.spec, iter(range(len(people)))
    sections, alarms = validation_twin.sections(
        twin,
        people,
        starts=starts,
        release=release,
        why=why,
        generator=lambda: np.random.default_rng(next(seeds)),
    )
    about = {
        "org": org,
        "made_at": iso(clock.now()),
        "kind": str(spec.kind),
        "subject": spec.name,
        "title": spec.title,
        "intended_use": spec.intended_use,
        "limits": list(spec.limits),
        "release": None,
    }
    return validation.seal(sections, about=about, identity=identity, entropy=os.urandom), alarms


def _made_up(twin: Twin, people: int) -> list[Series]:
    if twin.spec.outputs[0].name == "glucose":
        return [virtual_diary.example(days=_DIARY_DAYS, seed=seed) for seed in range(1, people + 1)]
    if twin.spec.kind is Kind.SYSTEM and twin.spec.inputs[0].name == "arrived":
        lived = [
            made_up.stays(made_up.ward(seed), days=_WARD_DAYS, seed=seed) for seed in range(people)
        ]
        return [stays.observed(came, left, until=came[-1]) for came, left in lived]
    raise TwinModelError(
        f"there are no made-up people for `{twin.spec.name}`",
        code="TW7179",
        help="validate it on patients with `twinward twin validate twin`",
    )
