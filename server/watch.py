"""The command line's view of a coordinator: start a run, follow it, ask how things are."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import grpc

from server.settings import FILE, ServerSettings
from twinward import absence
from twinward.console import is_interactive, next_step, say, table
from twinward.errors import CoordinatorUnreachable
from twinward.rpc.local import LocalAddress, local_channel
from twinward.rpc.messages_pb2 import Blob, Nothing
from twinward.rpc.messages_pb2_grpc import CoordinatorLocalStub
from twinward.rpc.replies import refusal_of
from twinward.settings import load

Event = dict[str, Any]


def start_run(folder: Path, *, study: str) -> Iterator[Event]:
    """Start a run and yield its events until it ends.

    Raises:
        CoordinatorUnreachable: TW6013, the coordinator went away; a run that was opened goes on.
        TwinwardError: Whatever ended the run.
    """
    load(ServerSettings, folder / FILE)
    with local_channel(LocalAddress.of(folder)) as channel:
        request = Blob(data=json.dumps({"study": study}).encode())
        try:
            for progress in CoordinatorLocalStub(channel).StartRun(request):
                yield json.loads(progress.event)
        except grpc.RpcError as error:
            raise refusal_of(error, otherwise=_gone()) from error


def status(folder: Path) -> dict[str, Any]:
    """Ask the coordinator of this folder."""
    load(ServerSettings, folder / FILE)
    with local_channel(LocalAddress.of(folder)) as channel:
        try:
            blob = CoordinatorLocalStub(channel).Status(Nothing(), timeout=10)
        except grpc.RpcError as error:
            raise refusal_of(error, otherwise=_gone()) from error
    found: dict[str, Any] = json.loads(blob.data)
    return found


def as_text(found: dict[str, Any]) -> str:
    """The state for people."""
    from ledger.audit.anchoring import in_words  # noqa: PLC0415 - --help must be instant
    from server import cli_queue  # noqa: PLC0415 - only shown here

    rows = [
        (
            member["org"],
            member["role"],
            "online" if member["online"] else "-",
            absence.last_seen(member.get("seen_seconds_ago"))
            if member["role"] == "hospital"
            else "",
        )
        for member in found["members"]
    ]
    running = _running(found) if found["running"] else "no run under way"
    return (
        f"coordinator of `{found['network']}`, pid {found['pid']}\n"
        f"ledger {found['ledger']['url']}, {_block(found['ledger']['block'])}, pid "
        f"{found['ledger']['pid']}, 1 operator, "
        f"{found['ledger']['witnesses']} witnesses\n"
        f"audit log: {in_words(found['audit'])}\nrun: {running}\n"
        f"{cli_queue.as_text(found['queue'])}\n\n"
        + table(("MEMBER", "ROLE", "FLOWER", "NODE"), rows)
    )


def _running(found: dict[str, Any]) -> str:
    latest = found["progress"]
    if not latest:
        return f"{found['running']}, waiting for hospitals"
    return (
        f"{found['running']}, step {latest['step']} of {latest['of']} with "
        f"{', '.join(latest['members'])}"
    )


def _block(number: int | None) -> str:
    return "does not answer" if number is None else f"block {number}"


def show(event: Event) -> None:
    """One event for people: a live line on a terminal, a line per tenth of the run elsewhere."""
    match event["event"]:
        case "opened":
            click.echo(
                f"run {event['run'][:16]} of `{event['study']}`: {event['steps']} steps, "
                f"{event['spare_attempts']} spare, epsilon {event['epsilon']:g} at delta "
                f"{event['delta']:g}; waiting for {', '.join(event['hospitals'])}"
            )
        case "epoch":
            click.echo(f"epoch {event['epoch']} with {', '.join(event['members'])}")
        case "step":
            _show_step(event)
        case "lost" | "absent" | "evaluation-lost" | "closing-missing":
            _end_line()
            _show_missing(event)
        case "closed":
            _end_line()
            click.echo(f"all {len(event['members'])} members signed the same model")
        case "evaluating":
            click.echo(f"measuring on held-out patients, epsilon {event['epsilon']:g} for each")
        case "released":
            click.echo(
                f"released: {event['model']}\n"
                f"  epsilon {event['epsilon']:g} at delta {event['delta']:g}, "
                f"{event['attempts']} attempts of {event['attempts_reserved']} reserved\n"
                f"  ledger block {event['ledger_block']}, "
                f"consent head {event['ledger_head'][:16]}\n"
                f"  {in_short(event['evaluation'])}\n"
                f"  card {event['card']}\n  report {event['report']}\n  evidence {event['pack']}"
            )
            next_step(f"twinward verify {event['pack']}")


def in_short(evaluation: Event | None) -> str:
    """One line on how good the released model is."""
    if evaluation is None:
        return "not measured: the plan keeps nobody out of training"
    if evaluation["missing"] is not None:
        return f"not measured: {evaluation['missing']}"
    if evaluation["auroc"] is None:
        return "too few held-out patients to say how good it is"
    found = evaluation["auroc"]
    return (
        f"AUROC {found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f}) on held-out "
        f"patients, epsilon {evaluation['epsilon']:g} for each of them"
    )


def _show_missing(event: Event) -> None:
    match event["event"]:
        case "lost":
            click.echo(
                f"step {event['step']} was lost, charged all the same: "
                f"{', '.join(event['missing'])} gone"
            )
        case "absent":
            for one in event["hospitals"]:
                click.echo(f"without {one['org']}: {one['words']}")
        case "evaluation-lost":
            click.echo(f"{', '.join(event['missing'])} gone; measuring again, charged again")
        case "closing-missing":
            click.echo(f"no final weights by Flower from {', '.join(event['members'])}")


def _show_step(event: Event) -> None:
    step, steps = event["step"], event["of"]
    line = (
        f"step {step:>3}/{steps}  {len(event['members'])} hospitals  {event['ms']:.0f} ms  "
        f"from {event['received_from']}: {event['received'][0]}...  "
        f"sum: {event['sum'][0]:+.2f} {event['sum'][1]:+.2f}..."
    )
    if is_interactive():
        sys.stderr.write(f"\r\033[K{line}")
        sys.stderr.flush()
    elif step % max(1, steps // 10) == 0:
        say(line)


def _end_line() -> None:
    if is_interactive():
        sys.stderr.write("\n")


def _gone() -> CoordinatorUnreachable:
    return CoordinatorUnreachable(
        "the coordinator went away",
        code="TW6013",
        note="a run that was under way goes on from its last sealed step once it is up again",
        help="start it again with `twinward server up`; `twinward server queue list` shows the run",
    )
