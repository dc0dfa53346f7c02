"""``twinward server``: make, found, run and watch the coordinator of a network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from server import (
    cli_backup,
    cli_doctor,
    cli_front_door,
    cli_members,
    cli_moves,
    cli_queue,
    cli_retire,
    cli_run,
    cli_shards,
)
from twinward.clock import SystemClock
from twinward.console import emit, json_option, next_step, reports_errors, say
from twinward.files import read_given

if TYPE_CHECKING:
    from twinward.plan import Plan

FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))


@click.group()
def server() -> None:
    """Run the coordinator of a network."""


for command in (
    *cli_backup.COMMANDS,
    *cli_members.COMMANDS,
    *cli_moves.COMMANDS,
    *cli_shards.COMMANDS,
    cli_doctor.doctor,
    cli_front_door.command,
    cli_queue.queue,
    cli_run.run,
    cli_retire.retire,
):
    server.add_command(command)


@server.command()
@FOLDER
@click.option("--network", required=True, help="Short name of the new network.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--base-port",
    default=9440,
    show_default=True,
    help="First of four ports; five behind a front door.",
)
@click.option("--front-door", default="", help="HOST:PORT where hospitals find everything.")
@json_option
@reports_errors
def init(
    *, folder: Path, network: str, host: str, base_port: int, front_door: str, as_json: bool
) -> None:
    """Make a coordinator's keys, its CA and its configuration in FOLDER."""
    from ledger.account import address_of, new_key
    from server import ca, settings
    from twinward.ids import OrgName, org_name
    from twinward.organisation import Organisation

    organisation, org = Organisation(folder), OrgName("coordinator")
    configuration = settings.ServerSettings(
        org=org,
        network=org_name(network),
        host=host,
        network_port=base_port,
        flower_port=base_port + 1,
        ledger_port=base_port + 2,
        join_port=base_port + 3,
        front_door=front_door,
        keeper_port=base_port + 4 if front_door else 0,
    )
    key = new_key()
    organisation.create(org=org, role="coordinator", ledger_key=key, ledger_account=address_of(key))
    ca.create(
        key_file=organisation.secrets / "ca.key",
        certificate_file=organisation.tls.ca,
        network=network,
        now=SystemClock().now(),
    )
    settings.write(folder / settings.FILE, configuration)
    emit(
        {"folder": str(folder), "identity": organisation.identity().public.fingerprint},
        schema="server.init",
        as_json=as_json,
        text=lambda: f"coordinator of `{network}` made in {folder}",
    )
    next_step(f"have each hospital run `twinward node init`, then `twinward server found {folder}`")


@server.command()
@FOLDER
@click.argument("requests", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--signed",
    "signed",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A copy signed by a hospital; give one for each.",
)
@click.option("--ledger", help="JSON-RPC of a ledger that others keep; none: our embedded node.")
@click.option(
    "--ledger-ca", type=click.Path(path_type=Path, dir_okay=False),
    help="The authority of its certificate, PEM; it goes into the founding file.",
)  # fmt: skip
@click.option("--chain-id", type=click.IntRange(min=1), help="Its chain id.")
@json_option
@reports_errors
def found(
    *,
    folder: Path,
    requests: tuple[Path, ...],
    signed: tuple[Path, ...],
    ledger: str | None,
    ledger_ca: Path | None,
    chain_id: int | None,
    as_json: bool,
) -> None:
    """Make the founding file from hospitals' REQUESTS, then complete it with their signatures."""
    from server import founding_ceremony

    if (ledger is None) != (chain_id is None) or (ledger is None and ledger_ca is not None):
        raise click.UsageError("--ledger and --chain-id go together, --ledger-ca with them")

    if signed:
        complete = founding_ceremony.complete(folder, [read_given(path) for path in signed])
        emit(
            {"founding": str(complete), "complete": True},
            schema="server.found",
            as_json=as_json,
            text=lambda: f"every member has signed: {complete}",
        )
        next_step(f"twinward server up {folder}, and give the file to every hospital")
        return
    outside = None
    if ledger is not None and chain_id is not None:
        outside = founding_ceremony.OutsideLedger.ask(
            ledger, ca=ledger_ca, chain_id=chain_id, folder=folder
        )
    draft = founding_ceremony.begin(
        folder,
        [(read_given(path), str(path)) for path in requests],
        now=SystemClock().now(),
        outside=outside,
    )
    emit(
        {"founding": str(draft), "complete": False},
        schema="server.found",
        as_json=as_json,
        text=lambda: f"founding file for {len(requests)} hospitals: {draft}",
    )
    next_step("send it to every hospital; each checks it and runs `twinward node sign`")


@server.command()
@FOLDER
@click.option("--study", required=True, help="Name of a study, for example heart-risk.")
@click.option(
    "--slot",
    default=0.005,
    show_default=True,
    help="Seconds between a sum and the next sending, the same for every hospital.",
)
@click.option("--epsilon", default=1.0, show_default=True, help="What a run may say of a patient.")
@click.option("--expected-patients", type=int, help="Public guess over all hospitals.")
@click.option(
    "--holdout-share",
    type=float,
    help="Part of the patients kept out of training, to measure the model; 0: do not measure it.",
)
@click.option("--evaluation-epsilon", type=float, help="What measuring may say of such a patient.")
@click.option(
    "--sample-rate",
    type=click.FloatRange(1e-4, 1, max_open=True),
    help="Chance of a patient to be in one attempt, drawn in secret; without it all of them are.",
)
@click.option(
    "--grade",
    "grades",
    multiple=True,
    type=click.Choice(("signed-on-device", "staff-attested")),
    default=("signed-on-device",),
    show_default=True,
    help="Which consents count; what staff wrote down from paper is `staff-attested`.",
)
@click.option(
    "--size",
    "sizes",
    multiple=True,
    metavar="HOSPITAL=CLASS",
    callback=lambda _context, _option, words: _sizes(words),
    help="How large a hospital declares to be: 1, 2, 4, 8 or 16 times the smallest; give all.",
)
@click.option(
    "--least-percent",
    type=click.IntRange(1, 100),
    default=50,
    show_default=True,
    help="With sizes: which part of the patients, as declared, every step needs.",
)
@click.option(
    "--shards",
    type=click.IntRange(2, 16),
    help="Train on so many parts of the patients, one run each: what one of them left can be "
    "trained again exactly. Noise is that of one part; nobody is kept out to measure it.",
)
@click.option("--ethics", default="", help="Reference of the ethics approval; patients read it.")
@click.option("--region", default="", help="Where all that is made of the data stays; the same.")
@click.option("--commercial", is_flag=True, help="Somebody may make money with it.")
@click.option("--methods-only", is_flag=True, help="It asks nothing about a disease.")
@click.option("--genetic", is_flag=True, help="It studies genes.")
@json_option
@reports_errors
def plan(
    *,
    folder: Path,
    study: str,
    slot: float,
    epsilon: float,
    expected_patients: int | None,
    holdout_share: float | None,
    evaluation_epsilon: float | None,
    sample_rate: float | None,
    grades: tuple[str, ...],
    sizes: dict[str, int],
    least_percent: int,
    shards: int | None,
    as_json: bool,
    **declared: Any,
) -> None:
    """Make and sign a STUDY and its plan, for hospitals to approve."""
    from dataclasses import replace

    from server import founding_ceremony, studies
    from twinward.ids import study_id
    from twinward.organisation import Organisation

    founding = founding_ceremony.load_founding(folder)
    if sample_rate is not None:
        say("finding the noise that this sample rate needs: up to a minute ...")
    described, planned = studies.make(
        studies.template(study),
        name=study_id(study),
        founding=founding,
        without=cli_members.not_served(folder),
        epsilon=epsilon,
        slot_seconds=slot,
        expected_patients=expected_patients,
        holdout_share=holdout_share,
        evaluation_epsilon=evaluation_epsilon,
        sample_rate=sample_rate,
        grades=grades,
        sizes=sizes,
        least_percent=least_percent,
        shards=shards,
        now=SystemClock().now(),
    )
    described = replace(described, **declared)
    paths = studies.publish(folder, described, planned, identity=Organisation(folder).identity())
    emit(
        {
            "study": str(paths[0]),
            "plan": str(paths[1]),
            "digest": planned.digest.hex(),
            "epsilon": planned.epsilon,
            "delta": planned.delta,
            "noise_multiplier": planned.noise_multiplier,
            "sample_rate": planned.sample_rate,
            "charged_mu": planned.mu,
            "shards": planned.shards,
        },
        schema="server.plan",
        as_json=as_json,
        text=lambda: (
            f"{planned.model}: {planned.steps} steps and {planned.spare_attempts} spare, epsilon "
            f"{planned.epsilon:g} at delta {planned.delta:g}, noise multiplier "
            f"{planned.noise_multiplier:.2f}{_sampled(planned)}{_parts(planned)}\n"
            f"study {paths[0]}\nplan  {paths[1]}"
        ),
    )
    next_step("send both files to every hospital; each reviews and runs `twinward node approve`")


def _sizes(words: tuple[str, ...]) -> dict[str, int]:
    try:
        return {name: int(size) for name, size in (word.split("=") for word in words)}
    except ValueError as error:
        raise click.BadParameter("write HOSPITAL=CLASS, for example harbour=4") from error


def _parts(plan: Plan) -> str:
    return "" if plan.shards is None else f", in {plan.shards} shards of one run each"


def _sampled(plan: Plan) -> str:
    if plan.sampling is None:
        return ""
    return f", {plan.sample_rate:g} of the patients in an attempt, charged as mu {plan.mu:g}"


@server.command()
@FOLDER
@click.option("--end-with-stdin", is_flag=True, help="Stop when standard input ends.")
@reports_errors
def up(*, folder: Path, end_with_stdin: bool) -> None:
    """Start the ledger, Flower's SuperLink and the coordinator in FOLDER; Ctrl-C stops all."""
    from server import daemon
    from twinward import child

    if end_with_stdin:
        child.end_with_stdin()
    sys.exit(daemon.main(folder))


@server.command()
@FOLDER
@json_option
@reports_errors
def status(*, folder: Path, as_json: bool) -> None:
    """Show the coordinator's processes, members and last run."""
    from server import watch

    current = watch.status(folder)
    emit(current, schema="server.status", as_json=as_json, text=lambda: watch.as_text(current))
