"""What the commands on a patient's twin take, and the hospital's service that they open."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hospital_node.twins.service import TwinService
    from hospital_node.twins.store import TwinStore
    from models.twin import Population, Scenario, Series, Twin

FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
FILE = click.Path(path_type=Path, dir_okay=False)
TWIN = click.option(
    "--twin", "name", default="glucose/1", show_default=True, help="Which twin of the patient."
)
HISTORY = click.option(
    "--history", type=FILE, required=True, help="CSV: time and the twin's inputs."
)


@contextmanager
def opened(folder: Path) -> Iterator[TwinService]:
    """The twins of the hospital in this folder, with its audit log."""
    import numpy as np

    from hospital_node import audit_log, care_study
    from hospital_node.twins.service import TwinService
    from twinward.clock import SystemClock

    with (
        audit_log.opened(folder) as entries,
        stored(folder) as store,
        care_study.answers(folder, clock=SystemClock()) as care,
    ):
        yield TwinService(
            store,
            entries=entries,
            answered=care.of,
            by=getpass.getuser(),
            clock=SystemClock(),
            generator=np.random.default_rng(),
        )


@contextmanager
def stored(folder: Path) -> Iterator[TwinStore]:
    """The file of twins of the hospital in this folder."""
    from hospital_node.paths import NodePaths
    from hospital_node.sealing import site_key
    from hospital_node.twins.store import TwinStore, other_key
    from twinward.organisation import Organisation

    path = NodePaths(folder).twins
    key = site_key(Organisation(folder).secrets / "twins.key", of=path, lost=other_key)
    store = TwinStore(path, key=key)
    try:
        yield store
    finally:
        store.close()


def started(folder: Path, twin: Twin) -> tuple[str, Population]:
    """Label and arrays that this hospital's new twins start from; looks at no patient.

    Raises:
        UsageError: TW1050, no node is there.
        TwinModelError: TW7139, this hospital looked and it is no help here.
    """
    from hospital_node.settings import FILE as SETTINGS
    from hospital_node.settings import NodeSettings
    from hospital_node.twins import deployment
    from twinward.settings import load

    load(NodeSettings, folder / SETTINGS)
    with stored(folder) as store:
        return deployment.start(store.populations, twin)


def scenario(change: str) -> Scenario:
    """A change as staff write it.

    Raises:
        UsageError: TW7132.
    """
    from models.twin import Scenario
    from twinward.errors import UsageError

    name, _, rest = change.partition("=")
    amount, _, minutes = rest.partition("@")
    try:
        action = (float(minutes or 0), name.strip(), float(amount))
    except ValueError as error:
        raise UsageError(
            f"`{change}` is not a change",
            code="TW7132",
            help="write INPUT=AMOUNT@MINUTES, such as bolus=2@0 or carbs=-20@30",
        ) from error
    return Scenario(change, actions=(action,))


def read(path: Path, name: str) -> Series:
    """A file of observations of this twin's inputs.

    Raises:
        DataError: TW7130, TW7131.
        TwinModelError: TW7112, TW7115.
    """
    from hospital_node.twins import diary
    from models import twins

    return diary.read(text_of(path), spec=twins.get(name).spec)


def text_of(path: Path) -> str:
    """A file that staff named, as text.

    Raises:
        DataError: TW7130, it is none.
    """
    from twinward.errors import DataError
    from twinward.files import read_given

    try:
        return read_given(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            "this file is not text in UTF-8",
            code="TW7130",
            at=str(path),
            help="save it as CSV in UTF-8",
        ) from error
