"""Is the rate of alerts held on each MIT-BIH record, and what does a fixed threshold do there?

Baseline: the first five minutes of a record. Then every beat is judged by `heartbeat/1` as it would
have been when it came. Peer in the same run: the 95th percentile of the first five minutes' scores
as a threshold that stays. Extra beats from the ventricle (annotated V) are shown as an example of
what alerts and burden do with them and are no statement on sensitivity: eight records, no tuning
set. Also: beats found by the engine's own detector against the annotations, and time per beat.

    TWINWARD_DATA_DIR=... python tests/benchmarks/alerts.py [--json]
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

from hospital_node.data import wfdb
from models import twins
from models.baseline import engine, heartbeat
from models.baseline.alerts import TARGET
from models.cardiac_ecg import beats as steep
from models.evaluation import auroc
from models.twin import Series

TWIN = twins.get("heartbeat/1")
BASELINE_MINUTES = 5
WITHIN = 0.01
NEAR_SECONDS = 0.15


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    folder = Path(os.environ["TWINWARD_DATA_DIR"]) / "mitbih"
    records = [record(header) for header in sorted(folder.glob("*.hea"))]
    off = [abs(each["rate"] - TARGET) for each in records]
    result = {
        "benchmark": "alerts",
        "load": round(os.getloadavg()[0], 1),
        "target": TARGET,
        "allowed_off": WITHIN,
        "farthest_off": round(max(off), 4),
        "farthest_off_fixed_threshold": round(
            max(abs(each["rate_fixed"] - TARGET) for each in records), 4
        ),
        "held_on_every_record": max(off) < WITHIN,
        "records": records,
    }
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


def record(header):
    recording, annotated = wfdb.read(header), wfdb.beats(header.with_suffix(".atr"))
    seen = heartbeat.observations(recording.samples[0], annotated.at, hertz=recording.hertz)
    early = seen.minutes <= BASELINE_MINUTES
    first = Series(seen.minutes[early], {n: c[early] for n, c in seen.values.items()})
    own = TWIN.individualise(TWIN.population(), first, generator=np.random.default_rng(1))
    began = time.perf_counter()
    judged = TWIN.judged(own, seen)
    seconds = time.perf_counter() - began
    kinds = dict(
        zip(np.round(annotated.at / recording.hertz / 60, 9), annotated.kinds, strict=True)
    )
    extra = np.array([kinds[round(each.minutes, 9)] == "V" for each in judged])
    scores = np.array([each.seen.score for each in judged])
    alerts = np.array([each.seen.alert for each in judged])
    burdens = np.array([each.seen.burden for each in judged])
    found = steep.found(recording.samples, hertz=recording.hertz)
    return {
        "record": header.stem,
        "beats": len(judged),
        "rate": round(float(alerts.mean()), 4),
        "rate_fixed": round(float(np.mean(scores > fixed(own, first))), 4),
        "burden_highest": round(float(np.nanmax(burdens)), 2),
        "burden_middle": round(float(np.nanmedian(burdens)), 2),
        "extra_beats": int(extra.sum()),
        "extra_beats_with_alert": int((alerts & extra).sum()),
        "auc_extra_by_score": round(auroc(scores, extra.astype(float)), 3)
        if extra.sum() >= 10
        else None,
        "found_of_annotated": round(near(annotated.at, found, recording.hertz), 4),
        "annotated_of_found": round(near(found, annotated.at, recording.hertz), 4),
        "microseconds_per_beat": round(1e6 * seconds / len(judged)),
    }


def fixed(own, first):
    """The 95th percentile of the baseline's own scores."""
    usual = engine.Usual(*(own[n] for n in ("mean", "between", "within", "drift", "slope")))
    names = tuple(each.name for each in TWIN.spec.inputs)
    _, off = engine.follow(usual, first, names)
    return np.quantile(np.abs(off).max(axis=1), 1 - TARGET)


def near(these, others, hertz):
    """Share of these with one of the others near."""
    place = np.clip(np.searchsorted(others, these), 1, len(others) - 1)
    apart = np.minimum(np.abs(these - others[place - 1]), np.abs(others[place] - these))
    return float(np.mean(apart <= NEAR_SECONDS * hertz))


if __name__ == "__main__":
    main()
