"""Records to numbers, by the public table alone: finite and bounded whatever a record holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.cardiac_risk.inputs import COLUMNS, LABEL, Column, Input, inputs
from twinward.errors import TwinModelError
from twinward.ids import OrgName

Floats = NDArray[np.float64]
Columns = Mapping[str, Floats]
"""Values per column name, one per record; NaN where nothing is recorded."""


def encode(columns: Columns, *, site: OrgName | None, sites: Sequence[OrgName]) -> Floats:
    """Numbers for the model, one row per record: [records, inputs], all finite.

    ``site`` is the hospital the records are from; None, or one the model does not know, stands at
    the centre of all. NaN, infinities and values out of a column's range count as missing.

    Raises:
        TwinModelError: TW7003, a column is not there or the columns differ in length.
    """
    read = {column.name: _readable(columns, column) for column in COLUMNS}
    lengths = {values.size for values in read.values()}
    if len(lengths) != 1:
        raise TwinModelError(
            "the columns of the records differ in length",
            code="TW7003",
            help="give one value per record in every column, NaN where nothing is recorded",
        )
    size = lengths.pop()
    known = sites.index(site) if site is not None and site in sites else None
    rows = [_row(each, read, size=size, site=known) for each in inputs(sites)]
    return np.stack(rows, axis=1)


def labels(columns: Columns) -> Floats:
    """1.0 where disease was found, 0.0 where not, NaN where that is not recorded.

    Raises:
        TwinModelError: TW7003, the column of the label is not there.
    """
    found = _readable(columns, LABEL)
    return np.where(np.isnan(found), np.nan, (found > 0).astype(np.float64))


def _readable(columns: Columns, column: Column) -> Floats:
    """The column with everything that is no value of it turned into NaN."""
    try:
        values = np.asarray(columns[column.name], dtype=np.float64)
    except KeyError as error:
        raise TwinModelError(
            f"the records have no column `{column.name}`",
            code="TW7003",
            help="give all columns of the model, NaN where nothing is recorded",
        ) from error
    fine = (values >= column.low) & (values <= column.high)
    if column.whole:
        fine &= values == np.floor(values)
    return np.where(fine, values, np.nan)


def _row(each: Input, read: Columns, *, size: int, site: int | None) -> Floats:
    """One input of all records: public formula, clipped, scaled, 0 where missing."""
    value = _value(each, read, size=size, site=site)
    unit = np.clip((value - each.centre) / each.spread, -each.limit, each.limit)
    return np.where(np.isnan(unit), 0.0, each.scale * unit)


def _value(each: Input, read: Columns, *, size: int, site: int | None) -> Floats:
    match each.form:
        case "constant":
            return np.full(size, each.argument)
        case "site":
            here = np.nan if site is None else float(site == each.argument)
            return np.full(size, here)
        case "missing":
            return np.isnan(read[each.column]).astype(np.float64)
        case "value":
            return read[each.column]
        case "short_of_target":
            return each.argument * (220.0 - read["age"]) - read[each.column]
        case "equals" | "at_least":
            values = read[each.column]
            true = values == each.argument if each.form == "equals" else values >= each.argument
            return np.where(np.isnan(values), np.nan, true.astype(np.float64))
