"""Recordings brought in: a folder laid out as PTB-XL, each patient with one that can be used.

A patient is the unit of privacy, so one recording counts: the first that has a label and is whole,
or else the first that is whole. A damaged one costs itself; the patient's next one is taken. Only a
patient without any whole recording is left out.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from hospital_node.data import ecg
from hospital_node.data.defects import Defect
from hospital_node.data.drafts import Draft, Read
from models.cardiac_ecg.beats import HERTZ, LEADS
from models.cardiac_ecg.risk import RECORDING
from twinward.errors import DataError
from twinward.ids import RecordNumber

LABELS = ("infarction", "abnormality")
_PART = 100
"""Patients after which what was read is made durable."""
_KINDS = {"TW7155": "recording-unreadable", "TW7157": "recording-changed"}
_OTHER = "recording-other"
_SHAPE = (len(LEADS), HERTZ * 10)


class RecordingFolder:
    """One folder of recordings.

    Args:
        folder: With the two tables and the recordings that they name.

    Raises:
        DataError: TW7158, the tables cannot be read.
    """

    mapping = b"recordings/v1"
    """What is where in the folder is fixed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines = list(ecg.listed(folder))

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """The tables and every recording."""
        stems = [self._folder / line.name for line in self._lines]
        return (
            self._folder / ecg.DATABASE,
            self._folder / ecg.STATEMENTS,
            *(stem.with_name(stem.name + end) for stem in stems for end in (".hea", ".dat")),
        )

    def parts(self, *, skip: int) -> Iterator[Read]:
        """All parts but the first ``skip``; a part is some patients."""
        patients, faulty = self._patients()
        listed = list(patients.items())
        for number, start in enumerate(range(0, max(1, len(listed)), _PART)):
            if number < skip:
                continue
            drafts, defects = [], [] if number else faulty
            for record, lines in listed[start : start + _PART]:
                draft = _first_whole(record, lines, defects)
                if draft is not None:
                    drafts.append(draft)
            yield Read(drafts, defects, len(drafts) * 2 * _SHAPE[0] * _SHAPE[1])

    def _patients(self) -> tuple[dict[RecordNumber, list[tuple[ecg.Line, _Labels]]], list[Defect]]:
        """The lines of each patient, those with a label first, and the lines that are of nobody."""
        found: dict[RecordNumber, list[tuple[ecg.Line, _Labels]]] = {}
        defects = []
        for line in self._lines:
            where = _short(line)
            try:
                record = line.patient()
            except DataError:
                defects.append(Defect("no-identifier", where))
                continue
            try:
                labels = line.labels()
            except DataError:
                defects.append(Defect("malformed", where))
                continue
            found.setdefault(record, []).append((line, labels))
        for lines in found.values():
            lines.sort(key=lambda one: bool(np.isnan(one[1][1])))
        return found, defects


_Labels = tuple[float, float]


def _first_whole(
    record: RecordNumber, lines: list[tuple[ecg.Line, _Labels]], defects: list[Defect]
) -> Draft | None:
    for line, labels in lines:
        try:
            samples = line.samples()
        except DataError as error:
            defects.append(Defect(_KINDS.get(error.code, _OTHER), _short(line), RECORDING))
            continue
        values = {
            name: value for name, value in zip(LABELS, labels, strict=True) if not np.isnan(value)
        }
        qualifies = bool(values)
        if not qualifies:
            defects.append(Defect("incomplete", _short(line), LABELS[1]))
        return Draft(record, _short(line), values, qualifies, signal=packed(samples))
    defects.append(Defect("no-recording", _short(lines[0][0])))
    return None


def packed(samples: ecg.Floats) -> bytes:
    """A recording as it is kept: its float64, compressed; `unpacked` gives the same bits."""
    return zlib.compress(np.ascontiguousarray(samples, dtype="<f8").tobytes(), 1)


def unpacked(signal: bytes) -> ecg.Floats:
    """What `packed` took, [leads, times]."""
    return np.frombuffer(zlib.decompress(signal), dtype="<f8").reshape(_SHAPE)


def _short(line: ecg.Line) -> str:
    return f"{ecg.DATABASE}:{line.at.rpartition(':')[2]}"
