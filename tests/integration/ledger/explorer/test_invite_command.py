"""`twinward explorer invite`, as a coordinator types it, for auditors who sign in elsewhere."""

import json

import pytest
from click.testing import CliRunner

from ledger.explorer.cli import explorer as command

ISSUER = "https://login.example"


def twinward(*words):
    return CliRunner().invoke(command, [str(word) for word in words])


def test_whoever_is_named_by_issuer_and_subject_needs_no_code(world):
    words = ("invite", world.audited, "gina", "--oidc", ISSUER, "--subject", "1|gina", "--json")
    done = twinward(*words)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["code"], said["issuer"], said["subject"]) == (None, ISSUER, "1|gina")
    listed = json.loads(twinward("auditors", world.audited, "--json").stdout)["auditors"]
    gina = next(one for one in listed if one["name"] == "gina")
    assert (gina["open"], gina["issuer"]) == (True, ISSUER)


def test_an_issuer_alone_gives_a_code_for_the_providers_page(world):
    done = twinward("invite", world.audited, "hugo", "--oidc", ISSUER)
    assert done.exit_code == 0, done.output
    assert "page  /join/provider" in done.output
    assert "code  " in done.output


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--subject", "1"), "TW7069"),
        (("--oidc", ISSUER, "--subject", ""), "TW7069"),
        (("--oidc", "http://login.example"), "TW7060"),
    ],
)
def test_an_invitation_that_could_bind_nobody_is_refused(world, words, code):
    done = twinward("invite", world.audited, "ida", *words)
    assert done.exit_code != 0
    assert code in done.output
