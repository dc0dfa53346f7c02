"""``twinward demo``: the whole network on this machine, from keys to a verified model."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import click

from twinward.console import next_step, reports_errors, say
from twinward.demo.twin_act import FANS
from twinward.errors import UsageError

REAL = ("cleveland", "hungarian", "switzerland", "va")
_VIRTUAL = (
    "Twinward: four VIRTUAL hospitals with made-up patients; set TWINWARD_DATA_DIR to a folder "
    "with the real UCI files"
)


@click.command()
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep everything in this new folder instead of a temporary one.",
)
@click.option("--slot", default=0.25, show_default=True, help="Seconds per step, to watch it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; talk on stderr.")
@reports_errors
def demo(*, keep: Path | None, slot: float, as_json: bool) -> None:
    """Found a network of four hospitals, train one model, verify it. Takes about a minute."""
    started = time.monotonic()
    show = say if as_json else click.echo
    source = _real_data()
    show(
        f"Twinward: real patients of four hospitals (UCI heart disease, {source})"
        if source
        else "Twinward: four VIRTUAL hospitals with made-up patients "
        "(set TWINWARD_DATA_DIR for the real UCI files)"
    )
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise UsageError(
            "the folder to keep is not empty",
            code="TW1080",
            at=str(keep),
            help="choose a new folder",
        )
    folder = (keep or Path(tempfile.mkdtemp(prefix="twinward-demo-"))).resolve()
    from twinward.demo.acts import perform
    from twinward.demo.network import LocalNetwork
    from twinward.demo.stage import Stage

    show(f"$ cd {folder}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: everything is stopped
    try:
        with Stage(folder, show=show, started=started) as stage:
            data_folder, data = _data(stage, source)
            network = LocalNetwork(stage, tuple(data), data, slot, attack=True)
            seen = perform(stage, network, data_folder=data_folder)
        release = folder / Path(seen["release"]["folder"])
        if keep is None:
            release = _only_the_release(folder, release)
        seen["twin"]["fans"] = str((folder if keep else release) / FANS)
    except BaseException:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    seconds = time.monotonic() - started
    _summary(seen, release, seconds, show=show)
    if as_json:
        seen |= {"seconds": round(seconds, 1), "real_data": source is not None}
        seen["folder"] = str(release)
        click.echo(json.dumps({"schema": "twinward/demo/v1", **seen}, sort_keys=True))


def _summary(seen: dict, release: Path, seconds: float, *, show) -> None:  # type: ignore[no-untyped-def, type-arg]  # noqa: ANN001
    done = seen["release"]
    show(f"\n[{seconds:4.0f} s] Done")
    for line in (
        (
            f"epsilon {done['epsilon']:g}, delta {done['delta']:g}: {done['attempts']} attempts "
            f"made of {done['attempts_reserved']} reserved"
        ),
        f"ledger block {done['ledger_block']}, head {done['ledger_head']}",
        f"ledger    {seen['evidence']['operators_and_witnesses']}",
        f"evidence: {'verified' if seen['evidence']['verified'] else 'FAULTY'}",
        f"model     {release / 'model.safetensors'}",
        f"card      {release / 'card.md'}",
        f"report    {release / 'report.html'}",
        f"evidence  {release / 'evidence.zip'}",
        f"twin      {seen['twin']['fans']}",
    ):
        show(f"   {line}")
    next_step(f"twinward verify {release / 'evidence.zip'}")


def _real_data() -> Path | None:
    """The folder with the real files, if the environment names one that has them all."""
    named = os.environ.get("TWINWARD_DATA_DIR")
    if not named:
        return None
    for place in (Path(named) / "heart_disease", Path(named)):
        if all((place / f"processed.{name}.data").is_file() for name in REAL):
            return place.resolve()
    return None


def _data(stage, source: Path | None) -> tuple[Path, dict[str, Path]]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Where each hospital's own file lies; made up when there is no real one."""
    if source is not None:
        return source, {name: source / f"processed.{name}.data" for name in REAL}
    made = stage.command("experiment", "virtual-hospitals", "data")["hospitals"]
    return stage.folder / "data", {name: stage.folder / path for name, path in made.items()}


def _only_the_release(folder: Path, release: Path) -> Path:
    """Keep model, card and evidence; delete every key and every state of a throw-away network."""
    result = folder / "release"
    shutil.copytree(release, result)
    shutil.copy(folder / FANS, result / FANS)
    for entry in folder.iterdir():
        if entry != result:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    return result
