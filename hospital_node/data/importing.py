"""Bringing records in: which sources there are, and the import that goes on where it ended.

| on disk                    | when the process dies there                              |
|---|---|
| nothing of a part          | the part is read again                                   |
| a part                     | the next call goes on with the one after it              |
| all parts, not the end     | the next call writes the end                             |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from hospital_node.data import ecg
from hospital_node.data import mapping as mappings
from hospital_node.data.csv_file import CsvFile
from hospital_node.data.defects import KINDS, Defect, Lost
from hospital_node.data.drafts import Read, Source
from hospital_node.data.fhir.bundle import FhirBundles
from hospital_node.data.mapping import CsvMapping
from hospital_node.data.readmission import LeftOut, nobody
from hospital_node.data.recordings import RecordingFolder
from hospital_node.data.store import Part, PatientStore
from twinward import canonical
from twinward.clock import Clock, iso
from twinward.errors import DataError, UsageError

FHIR_MAPPING = Path(__file__).parent / "fhir" / "heart.toml"
CSV_MAPPING = Path(__file__).parent / "csv_example.toml"
_BUNDLES = ("*.json", "*.json.gz")
_EVERYBODY = LeftOut(nobody, 0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a source.

    Attributes:
        files: Names of its files.
        counts: Patients that are new, changed, the same as before.
        defects: What was wrong, in the order of the source.
        bytes: How much was read, after decompression.
        resumed: Whether an earlier call had begun it.
        was_done: Whether an earlier call had finished it; then nothing was done now.
    """

    files: tuple[str, ...]
    counts: Counter[str]
    defects: tuple[Defect, ...]
    bytes: int
    resumed: bool
    was_done: bool

    @property
    def refused(self) -> int:
        """How many files and patients were left out, each for a reason that is named."""
        lost = (KINDS[defect.kind].lost for defect in self.defects)
        return sum(each in {Lost.FILE, Lost.PATIENT} for each in lost)


def sources(paths: Sequence[Path], *, mapping: Path | None, now: datetime) -> list[Source]:
    """The sources in these files and folders: recordings, tables, or else FHIR bundles.

    Raises:
        UsageError: TW7207 a table needs a mapping, TW7209 recordings have none, TW7200, TW7202,
            TW1070.
        DataError: TW7201, there is nothing to import; TW7158, the tables of recordings.
    """
    recordings = [path for path in paths if (path / ecg.DATABASE).is_file()]
    if recordings:
        if mapping is not None or len(recordings) < len(paths):
            raise UsageError(
                "recordings are brought in by themselves, without a mapping",
                code="TW7209",
                at=str(recordings[0]),
                help="give the folders of recordings alone; the layout of PTB-XL says what is what",
            )
        return [RecordingFolder(path) for path in recordings]
    tables = [path for path in paths if path.suffix.lower() in {".csv", ".tsv", ".txt"}]
    if tables and mapping is None:
        raise UsageError(
            "a table is read by a mapping, and none was given",
            code="TW7207",
            at=str(tables[0]),
            help="write one, beginning with `twinward data mapping --format csv`; then --mapping",
        )
    read = mappings.read(mapping or FHIR_MAPPING)
    if isinstance(read, CsvMapping):
        return [CsvFile(path, read, now=now) for path in paths]
    files = [file for path in paths for file in _bundles(path)]
    if not files:
        raise DataError(
            "there is no FHIR bundle here",
            code="TW7201",
            at=str(paths[0]) if paths else None,
            help=f"give files or folders with {' or '.join(_BUNDLES)}",
        )
    return [FhirBundles(files, read, now=now)]


def run(
    store: PatientStore,
    source: Source,
    *,
    clock: Clock,
    without: LeftOut = _EVERYBODY,
    progress: Callable[[Part], None] = lambda _part: None,
) -> Outcome:
    """Import a source, or go on with it; each part is on disk before the next is read.

    Whoever was erased is left out as a defect that names the place, and only that patient.

    Raises:
        BudgetError: TW4106, the disk did not take it; what was taken stays.
        DataError: TW7201, a file can no longer be read.
    """
    begun, done = store.begin(
        _name(source, lifted=without.lifted),
        files=[path.name for path in source.files],
        at=iso(clock.now()),
    )
    if not begun.done:
        for number, read in enumerate(source.parts(skip=done), start=done):
            progress(store.take(begun.number, number, _kept(read, without)))
        store.end(begun.number)
    counts: Counter[str] = Counter()
    defects: list[Defect] = []
    size = 0
    for part in store.parts(begun.number):
        counts.update(part.counts)
        defects += part.defects
        size += part.bytes
    return Outcome(begun.files, counts, tuple(defects), size, resumed=done > 0, was_done=begun.done)


def _kept(read: Read, without: LeftOut) -> Read:
    gone = [draft for draft in read.drafts if without.has(draft.record)]
    if not gone:
        return read
    return replace(
        read,
        drafts=[draft for draft in read.drafts if not without.has(draft.record)],
        defects=[*read.defects, *(Defect("erased", draft.where) for draft in gone)],
    )


def _bundles(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for pattern in _BUNDLES for file in path.glob(pattern))
    return [path]


def _name(source: Source, *, lifted: int) -> bytes:
    """What a source is known by: its mapping, and each file's name, size and last change.

    Once somebody was let in again it counts as another one, and is read anew.
    """
    files = []
    for path in source.files:
        found = path.stat() if path.is_file() else None
        files.append(
            [str(path.resolve()), found.st_size, found.st_mtime_ns] if found else [str(path), 0, 0]
        )
    # Nanoseconds do not fit into a number of canonical JSON.
    plain = [[name, size, str(changed)] for name, size, changed in files]
    known = {"files": plain, "mapping": source.mapping.decode()}
    return canonical.encode(known | {"let_in": lifted} if lifted else known)
