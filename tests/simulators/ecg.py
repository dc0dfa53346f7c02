"""Made-up electrocardiograms as WFDB files, and folders of them laid out as PTB-XL is.

Five bumps for each beat, of one dipole seen from twelve sides. A made-up infarction has a deeper Q,
a raised ST and a turned T in a part of the leads. They say nothing about medicine.
"""

import csv

import numpy as np

from models.cardiac_ecg.beats import HERTZ, LEADS

SIDES = np.array([0.6, 1.0, 0.5, -0.8, 0.2, 0.7, -0.4, 0.2, 0.7, 1.1, 1.0, 0.8])
BUMPS = {"P": (-0.17, 0.025, 0.12), "Q": (-0.03, 0.01, -0.08), "R": (0, 0.012, 1.0),
         "S": (0.03, 0.012, -0.2), "ST": (0.12, 0.05, 0.0), "T": (0.28, 0.045, 0.25)}  # fmt: skip
HURT = {"Q": -0.35, "ST": 0.2, "T": -0.3}
_GAIN = 1000
STATEMENTS = {"NORM": "NORM", "IMI": "MI", "AMI": "MI", "LVH": "HYP"}


def recording(generator, *, ill=False, seconds=10):
    """Millivolts, [leads, times] at ``HERTZ``."""
    time = np.arange(seconds * HERTZ) / HERTZ
    every = generator.uniform(0.6, 1.1)
    beats = np.arange(0.4, seconds, every) + generator.normal(
        0, 0.01, len(np.arange(0.4, seconds, every))
    )
    sides = SIDES * generator.normal(1, 0.15, len(SIDES))
    hurt = (np.arange(12) >= 6) if generator.random() < 0.5 else np.isin(np.arange(12), (1, 2, 5))
    found = generator.normal(0, 0.02, (12, time.size))
    found += 0.1 * np.sin(2 * np.pi * 0.2 * time + generator.uniform(0, 6))
    for name, (at, width, height) in BUMPS.items():
        shape = np.exp(-0.5 * ((time[:, None] - beats - at) / width) ** 2).sum(axis=1)
        heights = height * sides + (HURT.get(name, 0.0) * hurt if ill else 0.0)
        found += heights[:, None] * shape
    return found


def write_record(path, samples, *, hertz=HERTZ, names=LEADS, form=16):
    """A header and its samples; ``form`` 16, or 212 for an even number of samples in all."""
    counts = np.rint(np.asarray(samples) * (_GAIN if form == 16 else 200)).astype(np.int64)
    flat = counts.T.ravel()
    if form == 16:
        data = flat.astype("<i2").tobytes()
    else:
        first, second = (flat % 4096).reshape(-1, 2).T
        middle = (first >> 8) | ((second >> 8) << 4)
        data = np.stack([first & 255, middle, second & 255], axis=1).astype(np.uint8).tobytes()
    path.with_suffix(".dat").write_bytes(data)
    lines = [f"{path.stem} {len(counts)} {hertz} {counts.shape[1]}"]
    for name, row in zip(names, counts, strict=True):
        check = (int(row.sum()) + 2**15) % 2**16 - 2**15
        gain = _GAIN if form == 16 else 200
        lines.append(f"{path.stem}.dat {form} {gain}.0(0)/mV 16 0 {row[0]} {check} 0 {name}")
    path.with_suffix(".hea").write_text("\n".join(lines) + "\n")
    return path.with_suffix(".hea")


def write_beats(path, at, kinds, *, letters="NLRaVFJASEj/Q"):
    """An annotation file, with a note of rhythm at its beginning as archives have."""
    words = [(28 << 10) | 18, (63 << 10) | 3, 0x4E28, 0x0000]
    before = 18
    for place, kind in zip(at, kinds, strict=True):
        step = int(place) - before
        if not 0 <= step < 1024:
            words += [59 << 10, (step >> 16) & 0xFFFF, step & 0xFFFF]
            step = 0
        words.append(((letters.index(kind) + 1) << 10) | step)
        before = int(place)
    path.write_bytes(np.array([*words, 0], dtype="<u2").tobytes())
    return path


def write_folder(folder, *, patients, seed, ill_share=0.3):
    """A folder as PTB-XL: one recording for each patient and a second one for every tenth."""
    generator = np.random.default_rng(seed)
    (folder / "records100").mkdir(parents=True)
    with (folder / "scp_statements.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["", "description", "diagnostic", "diagnostic_class"])
        rows.writerows([code, code, "1.0", kind] for code, kind in STATEMENTS.items())
        rows.writerow(["SR", "sinus rhythm", "", ""])
    lines = []
    for number in range(patients):
        ill = generator.random() < ill_share
        code = ("IMI" if number % 2 else "AMI") if ill else "NORM"
        for again in range(2 if number % 10 == 9 else 1):
            name = f"records100/{number:05d}{again}_lr"
            write_record(folder / name, recording(generator, ill=ill))
            lines.append([f"{100 + number}.0", "0.0", str({code: 100.0, "SR": 0.0}), name])
    with (folder / "ptbxl_database.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["patient_id", "site", "scp_codes", "filename_lr"])
        rows.writerows(lines)
    return folder
