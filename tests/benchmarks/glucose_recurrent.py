"""A recurrent network trained inside each centre, with and without the layers, on real sensors.

The people, parts and errors of `glucose_real.py`. The network is trained on the first 70 % of its
own centre's people only, without privacy: it never leaves. Stacked, the layers of centre, person
and time of day correct what it leaves; the last row is the mean of that and of the layers alone.

    TWINWARD_DATA_DIR=... python tests/benchmarks/glucose_recurrent.py [--json] [--passes 20]
"""

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import recurrent
import torch
from glucose_real import CENTRES, TRAINED, rms, rounded
from glucose_real import histories as read

from models.glucose_forecast import layers, public
from models.glucose_forecast.rows import MEMORY, STEP, on_grid, rows_of, together

BARS = {"AZT1D": 18.7, "HUPA-UCM": 15.7, "T1D-UOM": 22.1}
"""30 minutes, mg/dL; stretch targets."""


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--passes", type=int, default=20)
    options = arguments.parse_args()
    if "TWINWARD_DATA_DIR" not in os.environ:
        sys.exit("needs the CGM files: set TWINWARD_DATA_DIR")
    torch.set_num_threads(1)
    folder = Path(os.environ["TWINWARD_DATA_DIR"]) / "cgm"
    result = {"benchmark": "glucose_recurrent", "passes": options.passes, "centres": {}}
    for name in CENTRES:
        everyone = read(folder / f"{name}.csv.gz")
        result["centres"][name] = centre(everyone, passes=options.passes, bar=BARS[name])
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


def centre(everyone, *, passes, bar):
    parts = [layers.parted(rows_of(history).known(), TRAINED) for history in everyone]
    before, after = ([part[side] for part in parts] for side in (0, 1))
    known = together(before)
    lags = [
        [windows(history, part[side]) for history, part in zip(everyone, parts, strict=True)]
        for side in (0, 1)
    ]
    began = time.perf_counter()
    network = recurrent.trained(np.concatenate(lags[0]), known.change, passes=passes)
    seconds = time.perf_counter() - began
    said = [[recurrent.said(network, each) for each in side] for side in lags]
    start = public.start()
    nothing = replace(start, weights=np.zeros_like(start.weights))
    left = [
        replace(rows, change=rows.change - each) for rows, each in zip(before, said[0], strict=True)
    ]
    base = layers.of_centre(nothing, left)
    ridge = layers.of_centre(start, before)
    stacked = [
        each + layers.of_person(base, own).change(rows)
        for own, rows, each in zip(left, after, said[1], strict=True)
    ]
    linear = [
        layers.of_person(ridge, own).change(rows) for own, rows in zip(before, after, strict=True)
    ]
    both = [(one + other) / 2 for one, other in zip(stacked, linear, strict=True)]
    errors = {
        name: np.array([rms(each, rows) for each, rows in zip(found, after, strict=True)])
        for name, found in (("linear", linear), ("stacked", stacked), ("both", both))
    }
    alone = [rms(each, rows) for rows, each in zip(after, said[1], strict=True)]
    still = [rms(np.zeros_like(rows.change), rows) for rows in after]
    found = errors["both"].mean(axis=0)
    return {
        "people": len(parts),
        "moments": len(known),
        "persistence": rounded(np.mean(still, axis=0)),
        "layers_without_network": rounded(errors["linear"].mean(axis=0)),
        "network_alone": rounded(np.mean(alone, axis=0)),
        "network_and_layers": rounded(errors["stacked"].mean(axis=0)),
        "mean_of_with_and_without": rounded(found),
        "people_better_than_persistence": round(
            float(np.mean((errors["both"] < np.array(still)).all(axis=1))), 3
        ),
        "bar": bar,
        "met": bool(found[0] <= bar),
        "training_s": round(seconds, 1),
    }


def windows(history, rows):
    """The readings of six hours before each of these moments, as the network reads them."""
    glucose, last = on_grid(history)
    at = glucose.size - 1 - np.round((last - rows.minutes) / STEP).astype(int)
    padded = np.concatenate([np.full(MEMORY - 1, np.nan), glucose])
    return recurrent.sequences(np.lib.stride_tricks.sliding_window_view(padded, MEMORY)[at])


if __name__ == "__main__":
    main()
