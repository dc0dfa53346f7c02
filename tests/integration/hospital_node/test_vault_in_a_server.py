"""A hospital moves its consents into its own PostgreSQL server and goes on with every command."""

import json
import zipfile
from contextlib import closing

import pytest
from click.testing import CliRunner

from consent.withdrawals import Withdrawals
from hospital_node import consents
from hospital_node.cli import node
from hospital_node.settings import FILE
from tests.simulators import postgres
from twinward.errors import ConsentError, UsageError


@pytest.fixture
def server():
    with postgres.server() as found:
        yield found


def run(*arguments):
    done = CliRunner().invoke(node, [*map(str, arguments), "--json"])
    return done.exit_code, json.loads(done.stdout)


def whole(folder):
    """Everything that the vault says, by table."""
    vault = consents.open_vault(folder)
    with closing(vault.store):
        return {
            table: sorted(map(repr, vault.store.rows(f"select * from {table}")))
            for table in ("site", "enrolments", "bindings", "grants", "withdrawals", "changes")
        }


def test_the_vault_moves_whole_and_every_command_goes_on(hospital, server, tmp_path):
    folder, (first, second, *_) = hospital.folder, hospital.world.patients
    vault = consents.open_vault(folder)
    study = hospital.world.study
    Withdrawals(vault).without_key(study, first, received_at=1, on_chain_by=2**40)
    vault.store.close()
    before = whole(folder)
    assert run("vault-move", folder)[1]["error"]["code"] == "TW3174"
    path = folder / FILE
    path.write_text(f'vault_server = "{server.text}"\n' + path.read_text())
    found = hospital.examine("consents: vault")["consents: vault"]
    assert found.code == "TW3172"
    with pytest.raises(UsageError):  # the node does not start with half of what it knows
        consents.open_vault(folder)

    server.kill()
    assert run("vault-move", folder)[1]["error"]["code"] == "TW3160"
    assert hospital.state("vault.sqlite").exists()
    server.start()
    status, told = run("vault-move", folder)
    assert (status, told["rows"]) == (0, sum(map(len, before.values())))
    assert not list(hospital.state("").glob("vault.sqlite*"))
    assert whole(folder) == before
    vault = consents.open_vault(folder)
    with closing(vault.store):
        # Numbers go on where the file's had come to.
        known = vault.last_change()
        Withdrawals(vault).without_key(study, second, received_at=1, on_chain_by=2**40)
        assert vault.last_change() > known

    named = ("consents: vault", "consents: queue", "letters")
    seen = hospital.examine(*named)
    assert [seen[name].code for name in named] == [None] * 3, seen
    assert "PostgreSQL" in seen["consents: vault"].what
    assert run("vault-key", folder)[0] == 0
    assert hospital.examine("consents: vault")["consents: vault"].code is None
    assert run("retention", folder)[0] == 0
    _, told = run("erase", folder, second, "--yes")
    stores = {one["store"]: one for one in told["report"]["payload"]["stores"]}
    assert stores["consents"]["rows"] > 0
    vault = consents.open_vault(folder)
    with closing(vault.store):
        assert vault.subjects_of(second) == []
        hidden = vault.hidden.hide(second)
        assert vault.store.row("select 1 from enrolments where record = ?", (hidden,)) is None
    out = tmp_path / "bundle.zip"
    assert run("support-bundle", folder, out)[0] == 0
    with zipfile.ZipFile(out) as archive:
        text = b"".join(archive.read(name) for name in archive.namelist())
    assert str(server.folder).encode() not in text

    server.kill()
    assert hospital.examine("consents: vault")["consents: vault"].code == "TW3160"
    with pytest.raises(ConsentError) as error:
        consents.open_vault(folder)
    assert error.value.code == "TW3160"


def test_a_move_that_died_before_its_end_is_given_again(hospital, server):
    folder = hospital.folder
    path = folder / FILE
    before = whole(folder)
    saved = hospital.state("vault.sqlite").read_bytes()
    path.write_text(f'vault_server = "{server.text}"\n' + path.read_text())
    assert run("vault-move", folder)[0] == 0

    def file_again():
        hospital.state("vault.sqlite").write_bytes(saved)
        hospital.state("vault.sqlite").chmod(0o600)

    file_again()  # it died when every row was in the server, and before the file went
    assert run("vault-move", folder)[0] == 0
    assert whole(folder) == before
    vault = consents.open_vault(folder)
    with closing(vault.store):
        vault.enrol(hospital.world.study, hospital.world.patients[:1], valid_until=1)
    file_again()  # an old copy beside a server that went on
    status, told = run("vault-move", folder)
    assert (status, told["error"]["code"]) == (6, "TW3173")
    assert hospital.state("vault.sqlite").exists()
