"""``twinward server retire``: take a released model out of use."""

from __future__ import annotations

from pathlib import Path

import click

from twinward.console import emit, json_option, next_step, reports_errors


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("run")
@click.option("--reason", required=True, help="Why; everybody reads it, so nothing of a patient.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@reports_errors
def retire(*, folder: Path, run: str, reason: str, yes: bool, as_json: bool) -> None:
    """Take the model of RUN out of use for good: on the ledger, and marked on its card.

    RUN is the name on the model card, or at least its first 8 signs. The model's evidence stays.
    """
    from server import cli_members
    from server import retire as retiring
    from twinward.clock import SystemClock

    if not yes:
        click.confirm("Nothing takes this back. Retire the model?", abort=True, err=True)
    cli_members.enter(folder, "retire")
    document = retiring.retire(folder, run, reason=reason, clock=SystemClock())
    emit(
        {**document.payload, "digest": document.digest.hex()},
        schema="server.retire",
        as_json=as_json,
        text=lambda: (
            f"retired: run {document.payload['run'][:16]} of `{document.payload['study']}`; "
            f"statement {document.digest.hex()[:16]} is on the ledger"
        ),
    )
    next_step("tell the hospitals; each node finds it on the ledger and tells who withdrew")
