"""Signals and beat annotations from PhysioNet's WFDB files, or a clear refusal.

A record is a text header (``.hea``), samples (``.dat``, formats 16 and 212) and, if somebody looked
at it, annotations (``.atr``). Samples come out in the header's unit. A header's check sums are
compared: a file that was cut or changed is refused and never read in part. The package ``wfdb``
would read more formats and loads a table library and a web client for it.

Format: https://physionet.org/physiotools/wag/header-5.htm, signal-5.htm, annot-5.htm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twinward.errors import DataError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_LARGEST_FILE = 256 * 2**20
_MOST_SIGNALS = 64
_MISSING = {"16": -32768, "212": -2048}
_GAIN = re.compile(r"([-+.\deE]+)(?:\((-?\d+)\))?(?:/(\S+))?")
_SKIP, _NUMBER, _SUBTYPE, _CHANNEL, _AUX = 59, 60, 61, 62, 63
_BEATS = "NLRaVFJASEj/Q"
"""The first thirteen annotation codes; later ones are of rhythm and of noise."""


@dataclass(frozen=True, slots=True)
class Record:
    """Signals of one patient. Stays in the hospital.

    Attributes:
        names: Of the signals, as in the header.
        units: Of the signals.
        hertz: Samples in a second.
        samples: In those units, NaN where none is recorded, [signals, times].
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    hertz: float
    samples: Floats


@dataclass(frozen=True, slots=True)
class Beats:
    """Where somebody saw a beat, and of which kind.

    Attributes:
        at: Samples since the beginning, rising, [n].
        kinds: One letter each: N normal, V from the ventricle, and others of WFDB's table.
    """

    at: Integers
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Signal:
    file: str
    form: str
    gain: float
    baseline: int
    unit: str
    check: int
    name: str


def read(path: Path) -> Record:
    """The record of this header.

    Raises:
        DataError: TW7155, unreadable or not a header; TW7156, a kind of file that is not read here;
            TW7157, the samples are not those that the header was written for.
    """
    lines = [line for line in _text(path).splitlines() if line.strip() and line[0] != "#"]
    try:
        first = lines[0].split()
        count, hertz, length = int(first[1]), float(first[2].split("/")[0]), int(first[3])
        signals = [_signal(line) for line in lines[1 : count + 1]]
    except (IndexError, ValueError) as error:
        raise _bad(path, "its header does not say what a header has to") from error
    if "/" in first[0] or not (
        0 < count == len(signals) <= _MOST_SIGNALS and hertz > 0 and length > 0
    ):
        raise _unread(path, "it has several parts, no signals, or more than are read")
    files, forms = {each.file for each in signals}, {each.form for each in signals}
    if len(files) > 1 or len(forms) > 1 or not forms <= set(_MISSING):
        raise _unread(path, "its samples are not in one file of format 16 or 212")
    (file,), (form,) = files, forms
    if Path(file).name != file:
        raise _bad(path, "its samples are said to be in another folder")
    counts = _counts(_bytes(path.with_name(file)), form, count * length)
    if counts.size != count * length:
        raise _changed(path, "there are fewer samples than the header says")
    table = counts.reshape(length, count).T
    if any((int(row.sum()) - each.check) % 2**16 for row, each in zip(table, signals, strict=True)):
        raise _changed(path, "its check sum is another")
    scaled = np.stack(
        [(row - each.baseline) / each.gain for row, each in zip(table, signals, strict=True)]
    )
    return Record(
        names=tuple(each.name for each in signals),
        units=tuple(each.unit for each in signals),
        hertz=hertz,
        samples=np.where(table == _MISSING[form], np.nan, scaled),
    )


def beats(path: Path) -> Beats:
    """The beats of an annotation file; what is said of rhythm and noise is passed over.

    Raises:
        DataError: TW7155, unreadable; TW7157, it ends in the middle.
    """
    raw = _bytes(path)
    words = np.frombuffer(raw[: len(raw) // 2 * 2], dtype="<u2").astype(np.int64)
    at, found, kinds, place = 0, [], [], 0
    while place < words.size and words[place]:
        code, step = int(words[place]) >> 10, int(words[place]) & 1023
        place += 1
        if code == _SKIP:
            if place + 2 > words.size:
                raise _changed(path, "it ends in the middle")
            jump = (int(words[place]) << 16) + int(words[place + 1])
            at += jump - 2**32 if jump >= 2**31 else jump
            place += 2
        elif code == _AUX:
            place += (step + 1) // 2
        elif code not in (_NUMBER, _SUBTYPE, _CHANNEL):
            at += step
            if 1 <= code <= len(_BEATS):
                found.append(at)
                kinds.append(_BEATS[code - 1])
    if place >= words.size:
        raise _changed(path, "it ends in the middle")
    if found != sorted(set(found)) or (found and found[0] < 0):
        raise _changed(path, "its beats do not follow each other")
    return Beats(np.array(found, dtype=np.int64), tuple(kinds))


def _signal(line: str) -> _Signal:
    parts = line.split(maxsplit=8)
    found = _GAIN.fullmatch(parts[2])
    if found is None:
        raise ValueError(parts[2])
    zero = int(parts[4])
    gain = float(found[1])
    if gain == 0 or not np.isfinite(gain):
        raise ValueError(parts[2])
    return _Signal(
        file=parts[0],
        form=parts[1],
        gain=gain,
        baseline=int(found[2]) if found[2] else zero,
        unit=found[3] or "mV",
        check=int(parts[6]),
        name=parts[8] if len(parts) > 8 else "",
    )


def _counts(raw: bytes, form: str, wanted: int) -> Integers:
    if form == "16":
        return np.frombuffer(raw[: len(raw) // 2 * 2], dtype="<i2")[:wanted].astype(np.int64)
    pairs = np.frombuffer(raw[: len(raw) // 3 * 3], dtype=np.uint8).reshape(-1, 3).astype(np.int64)
    both = np.stack(
        [pairs[:, 0] + ((pairs[:, 1] & 15) << 8), pairs[:, 2] + ((pairs[:, 1] >> 4) << 8)], axis=1
    )
    return np.where(both >= 2**11, both - 2**12, both).ravel()[:wanted]


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode("ascii")
    except UnicodeDecodeError as error:
        raise _bad(path, "its header is not plain text") from error


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise _unread(path, f"it is larger than {_LARGEST_FILE // 2**20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise _bad(path, error.strerror or "input/output error") from error


def _bad(path: Path, why: str) -> DataError:
    return DataError(
        f"the recording cannot be read: {why}",
        code="TW7155",
        at=str(path),
        help="give the header of a WFDB record, with its samples beside it",
    )


def _unread(path: Path, why: str) -> DataError:
    return DataError(
        f"this kind of recording is not read here: {why}",
        code="TW7156",
        at=str(path),
        help="convert it to WFDB format 16 in one file",
    )


def _changed(path: Path, why: str) -> DataError:
    return DataError(
        f"the recording is not what was recorded: {why}",
        code="TW7157",
        at=str(path),
        help="fetch the files again; nothing of them was used",
    )
