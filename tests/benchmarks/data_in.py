"""How fast records come in: FHIR R4 bundles and a table, against parsing the same bytes alone.

*import* is all of it after the start of the program: unpacking, decoding, mapping, checking,
sealing, writing with fsync, noting each part; *decode* is the reader alone, from bytes in memory.
Beside them, in the same run on the same bytes: `json.loads` of the standard library and
`msgspec.json.decode` without types, which do none of that. One process, one core: rates are per
second of CPU time; seconds by the clock are shown too. Bar: 20 MB of JSON per core and second.

    TWINWARD_DATA_DIR=... python tests/benchmarks/data_in.py [--json] [--copies 20]
"""

import argparse
import gzip
import json
import os
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from hospital_node.data import imported, importing
from models.cardiac_risk import made_up
from twinward.clock import SystemClock

BAR_MB_PER_SECOND = 20.0
MEGABYTE = 1e6
PATIENTS = 20_000


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--copies", type=int, default=20)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = {
            "benchmark": "data_in",
            "load": round(os.getloadavg()[0], 1),
            "fhir": fhir(Path(folder), options.copies)
            if "TWINWARD_DATA_DIR" in os.environ
            else "needs TWINWARD_DATA_DIR",
            "table": table(Path(folder)),
        }
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


def fhir(folder, copies):
    """Real bundles, each so often under another number that there is enough to time."""
    data = [
        gzip.decompress(path.read_bytes())
        for path in sorted(Path(os.environ["TWINWARD_DATA_DIR"], "fhir_r4").glob("*.json.gz"))
    ]
    bundles = folder / "bundles"
    bundles.mkdir()
    for copy in range(copies):
        for number, one in enumerate(data):
            # The number of the patient stands in the bundle as the type of identifier `MR`.
            own = json.loads(one)["entry"][0]["resource"]["identifier"][1]["value"].encode()
            (bundles / f"{copy:03}-{number:02}.json").write_bytes(
                one.replace(own, b"%03d-%02d-" % (copy, number) + own[:20])
            )
    size = sum(path.stat().st_size for path in bundles.iterdir()) / MEGABYTE
    found, cpu, clock = imports(folder / "fhir_node", bundles)
    assert sum(found.counts.values()) == len(data) * copies
    (source,) = importing.sources([bundles], mapping=None, now=datetime.now(UTC))
    every = [path.read_bytes() for path in source.files]
    decoding = timed(lambda: [source.decode(one, name="b") for one in every])
    plain = timed(lambda: [json.loads(one) for one in every])
    untyped = timed(lambda: [msgspec.json.decode(one) for one in every])
    return {
        "bundles": len(every),
        "megabytes": round(size, 1),
        "import_mb_per_cpu_second": round(size / cpu, 1),
        "import_seconds_by_the_clock": round(clock, 2),
        "decode_mb_per_cpu_second": round(size / decoding, 1),
        "json_loads_mb_per_cpu_second": round(size / plain, 1),
        "msgspec_untyped_mb_per_cpu_second": round(size / untyped, 1),
        "import_against_json_loads": round(plain / cpu, 2),
        "bar_mb_per_second": BAR_MB_PER_SECOND,
        "met": size / cpu >= BAR_MB_PER_SECOND,
    }


def table(folder):
    """Made-up patients as a table of fourteen columns."""
    columns = made_up.patients(made_up.HOSPITALS[0], seed=1)
    rows = len(next(iter(columns.values())))
    names = list(columns)
    lines = [",".join(["id", *names])]
    for number in range(PATIENTS):
        cells = (columns[name][number % rows] for name in names)
        lines.append(",".join([f"P{number}", *("" if c != c else f"{c:g}" for c in cells)]))
    path, mapping = folder / "table.csv", folder / "table.toml"
    path.write_text("\n".join(lines))
    fields = [f'fields.{name} = {{ column = "{name}" }}' for name in names]
    mapping.write_text("\n".join(['format = "csv"', 'record = "id"', *fields]))
    found, cpu, clock = imports(folder / "table_node", path, mapping)
    assert sum(found.counts.values()) == PATIENTS
    return {
        "patients": PATIENTS,
        "patients_per_cpu_second": round(PATIENTS / cpu),
        "seconds_by_the_clock": round(clock, 2),
    }


def imports(node, path, mapping=None):
    """The outcome of an import into an empty node, CPU seconds, seconds by the clock."""
    node.mkdir()
    (source,) = importing.sources([path], mapping=mapping, now=datetime.now(UTC))
    with closing(imported.open_store(node, alone=True)) as store:
        cpu, clock = time.process_time(), time.perf_counter()
        found = importing.run(store, source, clock=SystemClock())
        return found, time.process_time() - cpu, time.perf_counter() - clock


def timed(work):
    """CPU seconds of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
