"""``twinward node withdrawals``: how far each withdrawal is, with its clock; what is late first."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hospital_node.record import typed
from twinward.console import emit, json_option, reports_errors, say, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consent.pipeline import Progress
    from consent.study import Study

_FOLDER = click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
_FILE = click.Path(path_type=Path, dir_okay=False)
_LATE = 3


@click.command()
@_FOLDER
@click.option("--of", "record", metavar="RECORD", help="Only of this record number.")
@click.option("--all", "everything", is_flag=True, help="Complete ones too.")
@click.option("--receipt", metavar="WITHDRAWAL", help="Write the last signed word on this one.")
@click.option("--out", type=_FILE, help="Where to write it; must be new.")
@json_option
@reports_errors
def withdrawals(
    *,
    folder: Path,
    record: str | None,
    everything: bool,
    receipt: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Show withdrawals and their deadlines; exit status 3 if one is late.

    Works with the node and the ledger down. WITHDRAWAL is the first column, or its beginning.
    RECORD is a record number, or - to type it, so that it stands in no list of processes.
    """
    if (receipt is None) != (out is None):
        raise click.UsageError("--receipt and --out go together")
    from twinward.clock import SystemClock

    number, now = None if record is None else typed(record), SystemClock().now()
    found = _sorted(_read(folder), now)
    if receipt is not None and out is not None:
        _write(found, receipt, out)
    chosen = [one for one in found if number is None or one.kept.record == number]
    shown = [one for one in chosen if everything or number is not None or one.due is not None]
    late = [one for one in shown if _is_late(one, now)]
    names = {study.id32: study.name for study in _studies(folder)}
    emit(
        {
            "withdrawals": [_as_json(one, names, now) for one in shown],
            "late": len(late),
            "complete": sum(one.due is None for one in chosen),
        },
        schema="node.withdrawals",
        as_json=as_json,
        text=lambda: _as_text(shown, chosen, names, now, with_models=number is not None),
    )
    if late:
        say(f"{len(late)} late: is the ledger there? `twinward node status {folder}`")
        sys.exit(_LATE)


def _read(folder: Path) -> list[Progress]:
    from contextlib import closing

    from consent.completions import Completions
    from consent.pipeline import progress
    from hospital_node.consents import open_vault
    from hospital_node.paths import NodePaths
    from hospital_node.settings import FILE, NodeSettings
    from twinward.settings import load

    load(NodeSettings, folder / FILE)
    vault, completions = open_vault(folder), Completions(NodePaths(folder).completions)
    with closing(vault.store), closing(completions.store):
        return list(progress(vault, completions))


def _studies(folder: Path) -> Sequence[Study]:
    from hospital_node import approvals, membership
    from twinward.organisation import Organisation

    if not Organisation(folder).founding_file.is_file():
        return ()
    founding = membership.load_founding(folder)
    names = approvals.names(folder)
    return [approvals.load(folder, name, founding=founding).study for name in names]


def _is_late(one: Progress, now: float) -> bool:
    left = one.seconds_left(now)
    return left is not None and left < 0


def _sorted(found: list[Progress], now: float) -> list[Progress]:
    """What is late first, then by deadline; complete ones last, newest first."""
    still = sorted((one for one in found if one.due is not None), key=lambda one: one.due or 0)
    late = [one for one in still if _is_late(one, now)]
    waiting = [one for one in still if not _is_late(one, now)]
    return [*late, *waiting, *reversed([one for one in found if one.due is None])]


def _write(found: list[Progress], wanted: str, out: Path) -> None:
    from twinward.errors import UsageError
    from twinward.files import write_atomic

    named = [one for one in found if one.kept.digest.hex().startswith(wanted.lower())]
    document = None
    if len(named) == 1:
        (one,) = named
        document = one.kept.receipt if one.completion is None else one.completion.encode()
    if document is None or out.exists():
        raise UsageError(
            "there is nothing to write under this name, or the file is there already",
            code="TW8140",
            note=f"{len(named)} withdrawals begin like this",
            help="take a withdrawal of `twinward node withdrawals --all`, and a new file",
        )
    write_atomic(out, document, mode=0o600)
    say(f"written: {out}")


def _as_json(one: Progress, names: Mapping[bytes, str], now: float) -> dict[str, Any]:
    from consent.receipts import step_of

    left = one.seconds_left(now)
    return {
        "withdrawal": one.kept.digest.hex(),
        "study": names.get(one.kept.study, one.kept.study.hex()),
        "stage": one.stage.value,
        "received_at": one.kept.received_at,
        "excluded_from_step": step_of(one.kept.receipt),
        "on_chain_by": one.kept.on_chain_by,
        "due": one.due,
        "seconds_left": None if left is None else round(left),
        "late": _is_late(one, now),
        "models": _models(one),
        "revision": None if one.completion is None else one.completion.payload["revision"],
        "reason": one.kept.reason,
    }


def _models(one: Progress) -> list[dict[str, Any]] | None:
    """Each release with the patient and what becomes of it; None while that is not noted."""
    from dataclasses import asdict

    if one.completion is not None:
        return list(one.completion.payload["models"])
    return None if one.used is None else [{**asdict(used), "becomes": None} for used in one.used]


def _as_text(
    shown: Sequence[Progress],
    chosen: Sequence[Progress],
    names: Mapping[bytes, str],
    now: float,
    *,
    with_models: bool,
) -> str:
    from twinward.clock import iso

    complete = sum(one.due is None for one in chosen)
    lines = []
    if shown:
        rows = []
        for one in shown:
            models = _models(one)
            rows.append(
                (
                    one.kept.digest.hex()[:16],
                    names.get(one.kept.study, one.kept.study.hex()[:16]),
                    iso(one.kept.received_at)[:16],
                    one.stage.value,
                    _clock(one, now),
                    "not yet known" if models is None else str(len(models)),
                )
            )
        headings = ("WITHDRAWAL", "STUDY", "RECEIVED (UTC)", "STAGE", "CLOCK", "RELEASES")
        lines.append(table(headings, rows))
    if with_models:
        lines += [_of_models(one) for one in shown if _models(one)]
    lines.append(f"{len(chosen) - complete} under way, {complete} complete")
    return "\n".join(lines)


def _clock(one: Progress, now: float) -> str:
    left = one.seconds_left(now)
    if left is None:
        return "done"
    minutes = abs(left) / 60
    said = f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
    return f"LATE by {said}" if left < 0 else f"{said} left"


def _of_models(one: Progress) -> str:
    models = _models(one) or []
    rows = [
        (
            model["run"][:16],
            model["study"] or "forgotten",
            "trained" if model["trains"] else "measured",
            f"epsilon {model['epsilon']:g} at most, at delta {model['delta']:g}",
            _becomes(model),
        )
        for model in models
    ]
    shown = table(("RUN", "STUDY", "DATA", "SAYS OF THE PATIENT", "BECOMES"), rows)
    return "\n".join([shown, *_prices(models)])


def _becomes(model: Mapping[str, Any]) -> str:
    words = {"bounded": "stays, bounded", "retired": "RETIRED", None: "-"}
    if model["becomes"] == "retrained":
        return f"TRAINED AGAIN as {model['successor'][:16]}"
    shard = "" if model.get("shard") is None else f", shard {model['shard']}"
    return words[model["becomes"]] + shard


def _prices(models: Sequence[Mapping[str, Any]]) -> list[str]:
    """What leaving the patient out of these models would cost all others, and whether it can be."""
    trained = [model for model in models if model["trains"] and model["becomes"] != "retrained"]
    of_shards = [model for model in trained if model.get("shard") is not None]
    whole = [model for model in trained if model.get("shard") is None]
    lines = []
    if of_shards:
        lines.append(
            "Training a shard again without the patient is asked for on the ledger; the "
            "coordinator decides.\nIt would charge every other patient of that shard up to epsilon "
            f"{max(model['epsilon'] for model in of_shards):g} once more, and nobody else."
        )
    if whole:
        lines.append(
            "Training a model of everybody again without one patient is not offered: a whole new "
            f"run would\ncharge every other patient up to epsilon "
            f"{max(model['epsilon'] for model in whole):g} once more."
        )
    return lines


COMMANDS = (withdrawals,)
