"""A table with one patient a line, read by a mapping (RFC 4180, any delimiter and encoding).

A line stands or falls alone: a wrong number of cells or bytes that are no text cost that patient, a
faulty cell costs that value.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import islice
from pathlib import Path

from hospital_node.data.contract import FIELDS
from hospital_node.data.dates import age, birth_date, moment
from hospital_node.data.defects import Defect
from hospital_node.data.drafts import Draft, Read, Refused, checked, incomplete, quantity
from hospital_node.data.mapping import CsvField, CsvMapping
from hospital_node.record import is_record_number
from twinward import canonical
from twinward.errors import DataError, UsageError
from twinward.ids import RecordNumber

_PART = 2_000
"""Lines after which what was read is made durable."""
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,2})?")
_BOUND = re.compile(r"[<>≤≥~]")
_LONGEST_LINE = 2**20


class CsvFile:
    """One table with its mapping.

    Args:
        path: The file.
        mapping: What its columns are.
        now: No date can be later.

    Raises:
        UsageError: TW7202, the file has no such columns.
        DataError: TW7201, it cannot be read.
    """

    def __init__(self, path: Path, mapping: CsvMapping, *, now: datetime) -> None:
        self.files = (path,)
        self._path, self._mapping, self._now = path, mapping, now
        self._head = self._header()

    @cached_property
    def mapping(self) -> bytes:
        """What names the mapping."""
        return canonical.encode(self._mapping.model_dump(mode="json"))

    def parts(self, *, skip: int) -> Iterator[Read]:
        """All parts but the first ``skip``; a part is some lines."""
        rows = self._rows()
        next(rows, None)
        for _ in range(skip * _PART):
            next(rows, None)
        while part := list(islice(rows, _PART)):
            yield self._part(part)

    def _header(self) -> dict[str, int]:
        line = next(self._rows(), None)
        if line is None:
            raise DataError(
                "the file holds no line",
                code="TW7201",
                at=str(self._path),
                help="export the patients again; the first line names the columns",
            )
        names = [name.strip() for name in line[1]]
        named = [
            self._mapping.record,
            *(name for f in self._mapping.fields.values() for name in (f.column, f.born, f.at)),
        ]
        absent = sorted({name for name in named if name and names.count(name) != 1})
        if absent:
            raise UsageError(
                f"the file does not have each of these columns once: {', '.join(absent)}",
                code="TW7202",
                at=f"{self._path}:1",
                note=f"its columns are: {', '.join(names)}"[:500],
                help="correct the mapping, its delimiter or its encoding",
            )
        return {name: place for place, name in enumerate(names)}

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Line numbers and cells of all lines that are not blank; the header is the first."""
        csv.field_size_limit(_LONGEST_LINE)
        try:
            with self._path.open(
                encoding=self._mapping.encoding, errors="surrogateescape", newline=""
            ) as file:
                rows = csv.reader(file, delimiter=self._mapping.delimiter, strict=True)
                while True:
                    try:
                        row = next(rows)
                    except StopIteration:
                        return
                    except csv.Error as error:
                        # `strict` names it so when the file ends inside of quotes.
                        ended = "unexpected end" in str(error)
                        yield rows.line_num, ["", "\0truncated" if ended else "\0wrong-columns"]
                        continue
                    if row:
                        if rows.line_num == 1:
                            row[0] = row[0].removeprefix("\ufeff")
                        yield rows.line_num, row
        except OSError as error:
            raise DataError(
                f"the file cannot be read: {error.strerror}",
                code="TW7201",
                at=str(self._path),
                help="check path and permissions; reading is enough",
            ) from error

    def _part(self, rows: Sequence[tuple[int, list[str]]]) -> Read:
        drafts: list[Draft] = []
        defects: list[Defect] = []
        size = 0
        for number, row in rows:
            size += sum(map(len, row)) + len(row)
            where = f"{self._path.name}:{number}"
            try:
                drafts.append(self._draft(row, where, defects))
            except Refused as refused:
                defects.append(Defect(refused.kind, where))
        return Read(drafts, defects, size)

    def _draft(self, row: list[str], where: str, defects: list[Defect]) -> Draft:
        if len(row) == 2 and row[1].startswith("\0"):
            raise Refused(row[1][1:])
        if len(row) != len(self._head):
            raise Refused("wrong-columns")
        if any("\udc80" <= char <= "\udcff" for cell in row for char in cell):
            raise Refused("not-text")
        cells = {name: row[place].strip() for name, place in self._head.items()}
        record = cells[self._mapping.record]
        if not is_record_number(record):
            raise Refused("no-identifier")
        values = {}
        for name, field in self._mapping.fields.items():
            try:
                value = self._value(name, field, cells)
            except Refused as refused:
                defects.append(Defect(refused.kind, where, name))
            else:
                if value is not None:
                    values[name] = value
        lacking = incomplete(values, self._mapping.required, where=where)
        defects += lacking
        return Draft(RecordNumber(record), where, values, qualifies=not lacking)

    def _value(self, name: str, field: CsvField, cells: Mapping[str, str]) -> float | None:
        """What the cells say of one field; None if nothing."""
        needed = (field.born, field.at) if field.born else (field.column,)
        if any(cells[column] in self._mapping.missing for column in needed):
            return None
        if field.born:
            birth = birth_date(cells[field.born], now=self._now)
            at = moment(cells[field.at], now=self._now, birth=birth)
            return checked(name, age(birth, at.date()))
        cell = cells[field.column]
        if field.codes is not None:
            if cell not in field.codes:
                raise Refused("wrong-code")
            return field.codes[cell]
        value = self._number(cell)
        if value == 0.0 and field.zero_is_missing:
            return None
        is_flag = FIELDS[name].above is not None and field.unit is None
        return checked(name, value) if is_flag else quantity(name, value, field.unit)

    def _number(self, cell: str) -> float:
        plain = cell.replace(",", ".") if self._mapping.decimal == "," else cell
        if not _NUMBER.fullmatch(plain):
            raise Refused("comparator" if _BOUND.match(cell) else "not-a-number")
        return float(plain)
