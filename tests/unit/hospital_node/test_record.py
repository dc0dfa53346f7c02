"""A patient's record number in a command: given, or typed so that no list of processes shows it."""

import click
import pytest
from click.testing import CliRunner

from hospital_node.cli import node
from hospital_node.record import RECORD, typed
from hospital_node.twins.cli import twin
from twinward.errors import UsageError


@click.command()
@RECORD
def ask(*, record):
    """Ask."""
    click.echo(f"asked for {typed(record)}")


def test_a_record_number_is_taken_as_given_or_typed_without_being_shown():
    assert CliRunner().invoke(ask, ["A-17"]).output == "asked for A-17\n"
    answer = CliRunner().invoke(ask, ["-"], input="A-17\n")
    assert answer.stdout == "asked for A-17\n"
    assert "A-17" not in answer.stderr


@pytest.mark.parametrize("wrong", ["", " A-17", "A-17\n", "\x1b[2J", "7" * 65])
def test_what_is_not_a_record_number_is_refused(wrong):
    with pytest.raises(UsageError) as refusal:
        typed(wrong)
    assert refusal.value.code == "TW7133"


def test_every_command_that_takes_a_patient_lets_the_number_be_typed():
    taking = [
        command
        for group in (node, twin)
        for command in group.commands.values()
        if any(each.name == "record" for each in command.params)
    ]
    assert len(taking) >= 9
    for command in taking:
        assert "or - to type it" in command.help, command.name
