"""``twinward twin alerts``, ``notices``, ``rules``, ``beats``: what is unusual for one patient."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hospital_node.record import RECORD, typed
from hospital_node.twins.cli_arguments import FILE, FOLDER, opened, text_of
from twinward.console import emit, json_option, next_step, reports_errors, say, table

if TYPE_CHECKING:
    from hospital_node.twins.alerts import Looked
    from models.baseline.rules import Outcome
    from models.baseline.twin import Judged

TWIN = click.option(
    "--twin", "name", default="vitals/1", show_default=True, help="Which baseline of the patient."
)
_SHOWN, _FEWEST_SHOWN = 300, 10
"""Readings that a plot shows at most and at least."""

_HOURS_UNTIL = 4 * 1440.0
"""Minutes up to which a plot counts hours, and days after."""

_FAR = 1440.0 * 365 * 20
"""Minutes from which on a time is taken to be counted from 1970."""


@click.command()
@FOLDER
@RECORD
@TWIN
@click.option("--rules", type=FILE, help="A coach's rules; see `twinward twin rules --example`.")
@click.option(
    "--last",
    default=10,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="How many alerts to show; --json has them all.",
)
@click.option(
    "--notices",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a notice without content here, if the patient asked for notices.",
)
@click.option("--plot", type=FILE, help="Write the last readings of one quantity as SVG.")
@click.option("--quantity", help="Which; the first of the twin if none is named.")
@json_option
@reports_errors
def alerts(
    *,
    folder: Path,
    record: str,
    name: str,
    rules: Path | None,
    last: int,
    notices: Path | None,
    plot: Path | None,
    quantity: str | None,
    as_json: bool,
) -> None:
    """Show what was unusual for this patient: alerts at a held rate, and the burden beside them."""
    import secrets

    from hospital_node.twins import alerts as watching
    from hospital_node.twins import coach_rules
    from twinward.errors import UsageError
    from twinward.files import write_atomic

    patient = typed(record)
    about, coach = (name, ()) if rules is None else coach_rules.read(text_of(rules))
    if about != name:
        raise UsageError(
            f"these rules are about `{about}` and not `{name}`",
            code="TW7160",
            at=str(rules),
            help=f"ask with --twin {about}",
        )
    with opened(folder) as service:
        looked = watching.look(service, patient, name, rules=coach)
        if plot is not None:
            write_atomic(plot, _plot(looked, quantity).encode(), mode=0o600)
        told = notices is not None and watching.write_notice(
            service, patient, looked, notices, name=secrets.token_hex(8)
        )
    emit(
        {**looked_as_json(looked), "notice_written": told},
        schema="twin.alerts",
        as_json=as_json,
        text=lambda: looked_as_text(looked, last=last),
    )
    if notices is not None:
        say("a notice was written" if told else "no notice: nothing new, or none were asked for")


@click.command()
@FOLDER
@RECORD
@click.option("--to", default="", help="What the hospital's mail or portal knows the person by.")
@click.option("--off", is_flag=True, help="No more notices.")
@json_option
@reports_errors
def notices(*, folder: Path, record: str, to: str, off: bool, as_json: bool) -> None:
    """Write down that the patient asked for notices, or wants none. A notice has no content."""
    from hospital_node.twins import alerts as watching
    from twinward.errors import UsageError

    if off == bool(to):
        raise UsageError(
            "say where notices go, or that there shall be none",
            code="TW7162",
            help="give either --to ADDRESS or --off",
        )
    patient = typed(record)
    with opened(folder) as service:
        watching.agree_to_notices(service, patient, to)
    emit(
        {"notices": not off},
        schema="twin.notices",
        as_json=as_json,
        text=lambda: "no more notices" if off else "notices are sent there from now on",
    )


@click.command()
@click.argument("file", type=FILE, required=False)
@click.option("--example", is_flag=True, help="Write an example to FILE, or show it.")
@json_option
@reports_errors
def rules(*, file: Path | None, example: bool, as_json: bool) -> None:
    """Check a FILE with a coach's rules; nothing is evaluated."""
    from hospital_node.twins import coach_rules
    from twinward.errors import UsageError
    from twinward.files import write_atomic

    if example and file is not None:
        write_atomic(file, coach_rules.EXAMPLE.encode())
    text = coach_rules.EXAMPLE if example else "" if file is None else text_of(file)
    if not text:
        raise UsageError(
            "there is no file to check", code="TW7160", help="name a file, or ask for --example"
        )
    name, found = coach_rules.read(text)
    emit(
        {"twin": name, "rules": [rule.name for rule in found]},
        schema="twin.rules",
        as_json=as_json,
        text=lambda: text.rstrip() if example else f"{len(found)} rules about {name}: good",
    )


@click.command()
@click.argument("header", type=FILE)
@click.argument("file", type=FILE)
@click.option("--lead", help="Which lead; the first if none is named.")
@json_option
@reports_errors
def beats(*, header: Path, file: Path, lead: str | None, as_json: bool) -> None:
    """Write the beats of a WFDB recording as a diary for the twin `heartbeat/1`.

    Beats are those annotated beside it (HEADER with .atr), or the steep moments of all leads.
    """
    from hospital_node.data import wfdb
    from hospital_node.twins import diary
    from models.baseline import heartbeat
    from models.cardiac_ecg import beats as steep
    from twinward.errors import DataError
    from twinward.files import write_atomic

    recording = wfdb.read(header)
    if lead is not None and lead not in recording.names:
        raise DataError(
            f"this recording has no lead `{lead}`",
            code="TW7155",
            at=str(header),
            help=f"name one of: {', '.join(recording.names)}",
        )
    annotated = header.with_suffix(".atr")
    at = (
        wfdb.beats(annotated).at
        if annotated.exists()
        else steep.found(recording.samples, hertz=recording.hertz)
    )
    chosen = 0 if lead is None else recording.names.index(lead)
    series = heartbeat.observations(recording.samples[chosen], at, hertz=recording.hertz)
    write_atomic(file, diary.write(series).encode(), mode=0o600)
    emit(
        {"file": str(file), "beats": int(series.minutes.size), "annotated": annotated.exists()},
        schema="twin.beats",
        as_json=as_json,
        text=lambda: f"{file}: {series.minutes.size} beats",
    )
    next_step(f"twinward twin individualise NODE RECORD --twin heartbeat/1 --history {file}")


def looked_as_json(looked: Looked) -> dict[str, Any]:
    """Everything, with the twin's limits; what is not known is null."""
    return {
        "twin": looked.spec.name,
        "moments": looked.moments,
        "rate": _number(looked.rate),
        "burden": _number(looked.burden),
        "highest_burden": _number(looked.highest_burden),
        "burden_rose_at": list(looked.rises),
        "alerts": [
            {
                "minutes": each.minutes,
                "quantity": each.name,
                "value": each.value,
                "usual": round(each.usual, 3),
                "p": _number(each.seen.p),
                "burden": _number(each.seen.burden),
            }
            for each in looked.alerts
        ],
        "trends": [
            {"quantity": name, "level": round(level, 3), "per_day": round(trend, 4)}
            for name, level, trend in looked.trends
        ],
        "rules": [
            {
                "name": each.rule.name,
                "line": _number(each.line),
                "held_on": list(each.held),
                "say": each.rule.say if each.held else None,
            }
            for each in looked.outcomes
        ],
        "limits": list(looked.spec.limits),
    }


def looked_as_text(looked: Looked, *, last: int) -> str:
    """The newest alerts as a table, the burden in a sentence, rules, and the limits."""
    units = {each.name: "" if each.unit == "1" else f" {each.unit}" for each in looked.spec.inputs}
    rows = [_row(each, units[each.name]) for each in looked.alerts[-last:]]
    heading = ["when", "quantity", "seen", "usual then", "as unusual", "burden"]
    lines = [table(heading, rows)] if rows else ["No alerts."]
    lines += ["", f"{len(looked.alerts)} alerts in {looked.moments} moments."]
    if math.isnan(looked.burden):
        lines.append("Burden: too few moments yet.")
    else:
        lines.append(
            f"Burden {looked.burden:.0%} of the last moments (5 % is as usual; "
            f"highest {looked.highest_burden:.0%})."
        )
    if looked.rises:
        lines.append(f"It last came to three times the usual: {_when(looked.rises[-1])}.")
    lines += [f"{each.rule.name}: {_outcome(each)}" for each in looked.outcomes]
    return "\n".join([*lines, *looked.spec.limits])


def _plot(looked: Looked, name: str | None) -> str:
    """The last readings of one quantity, the range of 19 in 20, and a ring around each alert."""
    import numpy as np

    from twinward.errors import UsageError
    from twinward.report.fan import DAYS, HOURS, Band, fan

    names = [each.name for each in looked.spec.inputs]
    if name is not None and name not in names:
        raise UsageError(
            f"`{looked.spec.name}` has no quantity `{name}`",
            code="TW7111",
            help=f"name one of: {', '.join(names)}",
        )
    number = 0 if name is None else names.index(name)
    shown = looked.spec.inputs[number]
    history = looked.history
    values = history.values.get(shown.name, np.full(history.minutes.shape, np.nan))
    rows = np.flatnonzero(np.isfinite(values))[-_SHOWN:]
    if rows.size < _FEWEST_SHOWN:
        raise UsageError(
            f"there are too few readings of `{shown.name}` to draw",
            code="TW7111",
            help="name a quantity that was read",
        )
    minutes = history.minutes[rows] - history.minutes[rows[-1]]
    level, spread = (each[rows, number] for each in looked.expected)
    band = Band(
        "usual for this patient, 19 of 20 readings",
        level.tolist(), (level - 1.96 * spread).tolist(), (level + 1.96 * spread).tolist(),
    )  # fmt: skip
    since = float(history.minutes[rows[0]])
    marked = [
        (each.minutes - float(history.minutes[rows[-1]]), each.value)
        for each in looked.alerts
        if each.name == shown.name and each.minutes >= since
    ]
    return fan(
        minutes.tolist(),
        [band],
        title=f"{shown.title}: against this patient's own baseline",
        says=f"{len(marked)} of {rows.size} readings gave an alert",
        up=f"{shown.title}, {shown.unit}; a ring is an alert",
        seen=list(zip(minutes.tolist(), values[rows].tolist(), strict=True)),
        every=HOURS if -minutes[0] <= _HOURS_UNTIL else DAYS,
        marked=marked,
    )


def _row(judged: Judged, unit: str) -> list[str]:
    seen = judged.seen
    p = "-" if math.isnan(seen.p) else f"1 in {1 / seen.p:.0f}"
    burden = "-" if math.isnan(seen.burden) else f"{seen.burden:.0%}"
    return [
        _when(judged.minutes), judged.name, f"{judged.value:g}{unit}", f"{judged.usual:.3g}",
        p, burden,
    ]  # fmt: skip


def _when(minutes: float) -> str:
    from datetime import UTC, datetime

    if minutes >= _FAR:
        return datetime.fromtimestamp(minutes * 60, UTC).strftime("%Y-%m-%d %H:%M")
    return f"{minutes:.1f} min" if minutes < 1440 else f"day {minutes / 1440:.2f}"


def _outcome(outcome: Outcome) -> str:
    if math.isnan(outcome.line):
        return "too little is known of this person's own days"
    if not outcome.held:
        return "does not hold"
    days = f"{len(outcome.held)} days, last {_when(outcome.held[-1])}"
    return f"{outcome.rule.say} ({days}; line {outcome.line:.3g})"


def _number(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


COMMANDS = (alerts, beats, notices, rules)
