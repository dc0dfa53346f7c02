"""Who joined later is a member in a pack only if all hospitals before it but one signed."""

import json
import os

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from ledger import verify
from ledger.evidence import encode_pack
from server.model_card import CardTexts
from server.release import release
from tests.simulators.finished_run import NoLedger, certificate, finished_run
from twinward import admission, canonical
from twinward.errors import TwinwardError
from twinward.founding import keys_document, tls_key_digest
from twinward.ids import OrgName
from twinward.signing import Document, Identity

TEXTS = CardTexts(
    title="Risk", kind="risk", intended_use="Research.", limits=("None.",), hyper_parameters="Said."
)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A true pack of four hospitals, as records, and the keys to make others."""
    folder = tmp_path_factory.mktemp("joined")
    run = finished_run(folder)
    released = release(
        folder / "release",
        transcript=run.transcript,
        founding=run.founding,
        plan=run.plan_document,
        order=run.order,
        names=("a", "b", "c"),
        texts=TEXTS,
        identity=run.coordinator,
        ledger=NoLedger(),
    )
    run.transcript.close()
    records, faults = verify.read_archive(released.pack.read_bytes())
    assert not faults
    del records["manifest.json"]
    return run, records


def candidate(run, org="zug", *, by=("basel", "bern", "chur"), role="hospital", identity=None):
    """An admission of a new organisation, signed by these."""
    identity, key = identity or Identity.generate(), generate_private_key(SECP256R1())
    keys = keys_document(
        org=OrgName(org),
        role=role,
        identity=identity.public,
        tls_spki_sha256=tls_key_digest(key.public_key()),
        flower_public_key=f"flower {org} {os.urandom(4).hex()}",
        ledger_account="0x" + os.urandom(20).hex(),
    ).signed_by(identity)
    document = admission.admission(run.founding, keys=keys, certificate=certificate(key))
    for name in by:
        document = document.signed_by(run.identities[name])
    return document


def report(case, *admissions):
    run, records = case
    made = encode_pack(
        {**records, admission.FILE: admission.encode(admissions)},
        identity=run.coordinator,
        run=run.run,
        plan_digest=run.plan.digest,
    )
    return verify.verify_bytes(made, founding=run.founding.document.encode())


def test_a_pack_names_who_joined_and_that_they_were_endorsed(case):
    run, _ = case
    one = candidate(run)
    found = report(case, one)
    assert found.ok, found.faults
    assert [check.detail for check in found.checks if check.name == "joined"] == [
        "endorsed by all hospitals before but one: zug"
    ]
    # The product and the verifier, which share no code, agree on who is in.
    assert admission.admitted(run.founding, [one]).member("zug").org == "zug"


def wrong_network(document):
    payload = {**document.payload, "founding": "00" * 32}
    return Document(document.kind, payload)


@pytest.mark.parametrize(
    "lie",
    [
        lambda run: [candidate(run, by=("basel", "bern"))],
        lambda run: [candidate(run, by=("basel", "bern", "coordinator"))],
        lambda run: [candidate(run, "genf")],
        lambda run: [candidate(run, identity=run.identities["genf"])],
        lambda run: [candidate(run, role="coordinator")],
        lambda run: [candidate(run), candidate(run, "uri")],  # five before it: four are needed
        lambda run: [
            wrong_network(candidate(run))
            .signed_by(run.identities["basel"])
            .signed_by(run.identities["bern"])
            .signed_by(run.identities["chur"])
        ],
    ],
    ids=["two of four", "the coordinator", "a name", "a key", "a role", "the next", "elsewhere"],
)
def test_an_endorsement_that_is_missing_or_for_another_is_found_out(case, lie):
    run, _ = case
    admissions = lie(run)
    found = report(case, *admissions)
    assert [fault.code for fault in found.faults] == ["V023"]
    with pytest.raises(TwinwardError):
        admission.admitted(run.founding, admissions)


def test_a_forged_signature_does_not_count(case):
    run, _ = case
    document = candidate(run, by=("basel", "bern"))
    forged = (run.founding.member("chur").fingerprint, os.urandom(64))
    signatures = tuple(sorted((*document.signatures, forged)))
    found = report(case, Document(document.kind, document.payload, signatures))
    assert [fault.code for fault in found.faults] == ["V023"]


def test_garbage_in_the_record_is_a_fault_and_no_traceback(case):
    run, records = case
    for value in ({}, {"admissions": [{}]}, {"admissions": [7]}, {"admissions": None}):
        made = encode_pack(
            {**records, admission.FILE: canonical.encode(value)},
            identity=run.coordinator,
            run=run.run,
            plan_digest=run.plan.digest,
        )
        found = verify.verify_bytes(made)
        assert not found.ok, json.dumps(value)
