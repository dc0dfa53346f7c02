"""Which pseudonyms belong to a patient is answered at the hospital, and nowhere else."""

import json
import shutil

from click.testing import CliRunner

from hospital_node.paths import NodePaths
from hospital_node.pseudonyms import pseudonyms
from hospital_node.settings import FILE, NodeSettings, write
from tests.simulators.consent.world import VAULT_KEY, Hospital, Patient
from twinward.files import write_secret
from twinward.organisation import Organisation


def ask(folder, record, **more):
    done = CliRunner().invoke(pseudonyms, [str(folder), record, "--json"], **more)
    return done.exit_code, json.loads(done.stdout)


def test_the_pseudonyms_of_one_patient_are_told_to_their_hospital(tmp_path):
    hospital = Hospital(tmp_path / "at")
    people = [Patient(hospital, number) for number in range(3)]
    for patient in people[:2]:
        patient.grants()
    hospital.vault.store.close()
    at = tmp_path / "node"
    path = NodePaths(at).vault
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copy(hospital.path, path)
    write(at / FILE, NodeSettings(org="cleveland", data=at / "x", desk_port=1, flower_port=2))
    Organisation(at).secrets.mkdir()
    write_secret(Organisation(tmp_path / "node").secrets / "vault.key", VAULT_KEY)
    status, told = ask(tmp_path / "node", "R0")
    assert status == 0
    assert told["pseudonyms"] == [
        {
            "study": f"0x{hospital.study.id32.hex()}",
            "subject": f"0x{people[0].subject.hex()}",
        }
    ]
    assert ask(tmp_path / "node", "-", input="R0\n")[1] == told
    status, told = ask(tmp_path / "node", "R2")
    assert status == 2
    assert told["error"]["code"] == "TW3740"
