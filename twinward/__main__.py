"""The ``twinward`` command: a lazy root, so that ``--help`` costs no import of a role."""

from __future__ import annotations

import importlib
from typing import NamedTuple

import click

from twinward import __version__


class _Command(NamedTuple):
    target: str
    help: str
    extra: str


_COMMANDS = {
    "server": _Command("server.cli:server", "Run the coordinator of a network.", "server"),
    "node": _Command("hospital_node.cli:node", "Run one hospital's node.", "node"),
    "data": _Command("hospital_node.data.cli:data", "Bring patients' records in.", "node"),
    "consent": _Command("consent.cli:consent", "Grant, withdraw and show consents.", "node"),
    "audit": _Command(
        "ledger.questions.cli:audit", "Ask the ledger questions, with proofs.", "ledger"
    ),
    "twin": _Command(
        "hospital_node.twins.cli:twin", "Make and ask the twin of one patient.", "node"
    ),
    "verify": _Command("ledger.cli:verify", "Check an evidence pack, offline.", "base"),
    "ledger": _Command(
        "ledger.embedded.cli:ledger", "Keep a ledger node's database safe.", "ledger"
    ),
    "explorer": _Command(
        "ledger.explorer.cli:explorer", "Show auditors what stands on the ledger.", "web"
    ),
    "portal": _Command(
        "hospital_node.cli_portal:portal", "Let patients see and decide on a page.", "web"
    ),
    "demo": _Command(
        "twinward.demo.cli:demo", "See the whole network work on this machine.", "node"
    ),
    "experiment": _Command(
        "hospital_node.experiment.cli:experiment", "Made-up hospitals, comparisons.", "node"
    ),
    "privacy": _Command("hospital_node.privacy.cli:privacy", "Attack and explain a claim.", "node"),
    "explain": _Command("twinward.explain:explain", "Explain an error code.", "base"),
}


class _LazyRoot(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        command = _COMMANDS.get(cmd_name)
        if command is None:
            return None
        module, _, attribute = command.target.partition(":")
        try:
            loaded = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"`twinward {cmd_name}` needs a part that is not installed ({error.name} is "
                f'missing); install it with: pip install "twinward[{command.extra}]"'
            ) from error
        assert isinstance(loaded, click.Command)  # noqa: S101 - our own table
        return loaded

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in _COMMANDS.items()])


@click.command(cls=_LazyRoot, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="twinward")
def main() -> None:
    """Federated learning for health digital twins: consented, private, provable."""


if __name__ == "__main__":
    main()
