"""Fifty faults that a node can have, each provoked, and what the doctor calls them."""

import json
import os
import shutil
import sqlite3
from contextlib import closing

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from consent.withdrawals import Withdrawals
from hospital_node import policy_file
from hospital_node.consents import open_vault
from hospital_node.privacy.book import BudgetBook
from hospital_node.privacy.continuity import MEMORY, Continuity
from server import ca
from tests.simulators.one_node import STUDY
from twinward.clock import FixedClock
from twinward.doctor.findings import Result
from twinward.signing import Identity

pytestmark = pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")


# What IT gets wrong on the machine


def other_key(hospital):
    key = ec.generate_private_key(ec.SECP256R1())
    path = hospital.folder / "secrets" / "tls.key"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def other_authority(hospital):
    ca.create(
        key_file=hospital.folder / "other.key", certificate_file=hospital.folder / "ca.pem",
        network="other", now=hospital.site.clock.now(),
    )  # fmt: skip


def at(days):
    def move(hospital):
        hospital.site.clock = FixedClock(hospital.site.clock.now() + days * 86_400)

    return move


def change_founding(hospital):
    hospital.edit("founding.json", '"network":"demo"', '"network":"dema"')


def change_identity(hospital):
    path = hospital.folder / "secrets" / "identity.key"
    path.unlink()
    Identity.generate().save(path)


def change_plan(hospital):
    hospital.edit(f"studies/{STUDY}/plan.json", '"epsilon":1,', '"epsilon":9,')


def lines(change):
    def damage(hospital):
        rows = hospital.data.read_text().splitlines()
        hospital.data.write_text("\n".join(change(rows)) + "\n")

    return damage


def sql(name, statement):
    def damage(hospital):
        with closing(sqlite3.connect(hospital.state(name))) as database:
            database.execute(statement)
            database.commit()

    return damage


def garbage(name):
    def damage(hospital):
        path = hospital.state(name)
        data = bytearray(path.read_bytes())
        data[0:4000] = os.urandom(4000)
        path.write_bytes(data)

    return damage


def forwarder(**more):
    """The node has a forwarder, on a port where nothing listens."""
    lines = [f'{name} = "{value}"' for name, value in more.items()]

    def damage(hospital):
        with (hospital.folder / "node.toml").open("a") as file:
            file.write("\n".join(["", "[forwarder]", "port = 9", *lines, ""]))

    return damage


def other_vault_key(hospital):
    (hospital.folder / "secrets" / "vault.key").write_bytes(os.urandom(32))


def overdue(hospital):
    vault = open_vault(hospital.folder)
    study, record = hospital.world.study, hospital.world.patients[0]
    Withdrawals(vault).without_key(study, record, received_at=1, on_chain_by=2)
    with vault.store.transaction() as database:
        database.execute("update withdrawals set state = 'waiting'")
    vault.store.close()


def old_book(hospital):
    shutil.copy(hospital.folder / "book.before", hospital.state("budget.sqlite"))


def forgetful_book(hospital):
    Continuity(hospital.state("budget.sqlite"), memory=MEMORY).note(1000)


def overtaken_book(hospital):
    with closing(BudgetBook(hospital.state("budget.sqlite"))) as book:
        number, _ = book.fence()
        book.set_fence(number - 1, raising=False)


def changed_event(hospital):
    # A consent that never was: the chain of hashes does not lead there.
    with closing(sqlite3.connect(hospital.state("mirror.sqlite"))) as database:
        database.execute(
            "insert into events values (1, 1, x'01', x'02', x'03', x'04', ?)", (bytes(32),)
        )
        database.commit()


def changed_audit(hospital):
    with closing(sqlite3.connect(hospital.state("audit") / "audit.sqlite")) as database:
        database.execute("update nodes set hash = zeroblob(32)")
        database.commit()


def written_long_ago(hospital):
    at(30)(hospital)


def machine(**change):
    def damage(hospital):
        for name, value in change.items():
            setattr(hospital.site.machine, name, value)

    return damage


def environment(**variables):
    return lambda hospital: setattr(hospital.site, "environment", variables)


def setting(old, new):
    return lambda hospital: hospital.edit("node.toml", old, new)


def policy(old, new):
    return lambda hospital: hospital.edit("policy.toml", old, new)


def no_study(hospital):
    path = hospital.folder / "policy.toml"
    path.write_text(path.read_text().split("[[studies]]")[0])


def signatures_asked_for(hospital):
    policy("approvals = 0", "approvals = 1")(hospital)
    policy_file.write(hospital.folder, policy_file.parse(_with_approver(hospital)))


def _with_approver(hospital):
    text = (hospital.folder / "policy.toml").read_text()
    return f'{text}\n[[approvers]]\nname = "anna"\nkey = "{"ab" * 32}"\n'.encode()


def mode(name, bits):
    return lambda hospital: (hospital.folder / name).chmod(bits)


def gone(name):
    return lambda hospital: (hospital.folder / name).unlink()


def not_a_folder(hospital):
    shutil.rmtree(hospital.folder / "state")
    (hospital.folder / "state").write_text("in the way")


def ledger_at(address):
    """The founding file names another address, and all signed it."""

    def damage(hospital):
        elsewhere = hospital.world.signed(hospital.world.founding.document.payload, ledger=address)
        (hospital.folder / "founding.json").write_bytes(elsewhere.document.encode())

    return damage


def coordinator_at(host):
    def damage(hospital):
        world = hospital.world
        elsewhere = world.signed(
            world.founding.document.payload, network=f"{host}:{world.network_port}"
        )
        (hospital.folder / "founding.json").write_bytes(elsewhere.document.encode())

    return damage


def chain(**change):
    def damage(hospital):
        payload = dict(hospital.world.founding.document.payload)
        payload["chain"] = {**payload["chain"], **change}
        elsewhere = hospital.world.signed(payload)
        (hospital.folder / "founding.json").write_bytes(elsewhere.document.encode())

    return damage


def other_contracts(hospital):
    contracts = dict(hospital.world.founding.chain["contracts"])
    contracts["consent"] = "0x" + "11" * 20
    chain(contracts=contracts)(hospital)


FAULTS = [
    # machine
    ("disk full", machine(free=100 * 2**20), "disk", "TW7322"),
    ("disk nearly full", machine(free=3 * 2**30), "disk", "TW7323"),
    ("state cannot be written", not_a_folder, "state folder", "TW7324"),
    ("little memory", machine(memory=2**28), "memory", "TW7325"),
    ("too many threads", environment(OMP_NUM_THREADS="64"), "threads", "TW7326"),
    ("too many threads set", setting("threads = 1 ", "threads = 200 "), "threads", "TW7326"),
    ("no thread", environment(MKL_NUM_THREADS="0"), "threads", "TW7326"),
    ("few open files", machine(descriptors=256), "open files", "TW7327"),
    # configuration
    ("no configuration", gone("node.toml"), "configuration", "TW1050"),
    ("not TOML", setting('org = "', "org = "), "configuration", "TW1051"),
    ("unknown key", setting("witness =", "witnes ="), "configuration", "TW1052"),
    ("address of another machine", setting('"127.0.0.1"', '"192.0.2.7"'), "ports", "TW7329"),
    ("policy gone", gone("policy.toml"), "policy", "TW7300"),
    ("policy broken", policy("take_part", "takes_part"), "policy", "TW7301"),
    ("policy open to others", mode("policy.toml", 0o666), "policy", "TW7306"),
    ("policy without a study", no_study, "policy", "TW7307"),
    # keys and papers
    ("key readable by others", mode("secrets/ledger.key", 0o644), "secrets", "TW2005"),
    ("key gone", gone("secrets/flower.key"), "secrets", "TW1014"),
    ("folder of keys open", mode("secrets", 0o755), "secrets", "TW7340"),
    ("not joined", gone("founding.json"), "founding file", "TW1035"),
    ("founding file changed", change_founding, "founding file", "TW2002"),
    ("another identity", change_identity, "founding file", "TW2013"),
    ("certificate gone", gone("tls.pem"), "certificate", "TW7341"),
    ("key of another certificate", other_key, "certificate", "TW7342"),
    ("authority rolled", other_authority, "certificate", "TW7343"),
    ("certificate not yet valid", at(-5), "certificate", "TW7344"),
    ("certificate expired", at(91), "certificate", "TW7345"),
    ("certificate ends soon", at(80), "certificate", "TW7346"),
    ("plan changed", change_plan, "approved plans", "TW2002"),
    (
        "plan beyond the policy",
        policy("max_epsilon = 1.0", "max_epsilon = 0.5"),
        "approved plans",
        "TW6003",
    ),
    ("plan without signatures", signatures_asked_for, "approved plans", "TW7304"),
    # patients
    ("records gone", lambda h: h.data.unlink(), "patient records", "TW8001"),
    ("records empty", lambda h: h.data.write_text(""), "patient records", "TW8002"),
    (
        "records without a column",
        lines(lambda rows: [rows[0].rsplit(",", 1)[0], *rows[1:]]),
        "patient records",
        "TW8003",
    ),
    (
        "records with words",
        lines(lambda rows: ["old" + rows[0][2:], *rows[1:]]),
        "patient records",
        "TW8004",
    ),
    (
        "records out of range",
        lines(lambda rows: ["999," + rows[0].split(",", 1)[1], *rows[1:]]),
        "patient records",
        "TW8005",
    ),
    ("records open to all", lambda h: h.data.chmod(0o644), "patient records", "TW7350"),
    # consents
    ("vault open to others", mode("state/vault.sqlite", 0o644), "consents: vault", "TW3020"),
    ("vault of another key", other_vault_key, "consents: vault", "TW8641"),
    ("vault damaged", garbage("vault.sqlite"), "consents: vault", "TW3022"),
    ("withdrawals overdue", overdue, "consents: queue", "TW7351"),
    ("letters expired", at(2), "letters", "TW7353"),
    ("mirror altered", changed_event, "consents: copy", "TW7360"),
    ("mirror damaged", garbage("mirror.sqlite"), "consents: copy", "TW7360"),
    # privacy
    ("book damaged", garbage("budget.sqlite"), "privacy book", "TW4106"),
    ("book of an old copy", forgetful_book, "privacy book", "TW4108"),
    ("book of before a run", old_book, "book and ledger", "TW4105"),
    ("another process began", overtaken_book, "book and ledger", "TW4310"),
    ("accounts of other keys", change_identity, "patients' accounts", "TW4311"),
    ("accounts damaged", garbage("accounts.sqlite"), "patients' accounts", "TW4106"),
    # audit log
    ("audit log changed", changed_audit, "audit log", "TW3613"),
    ("audit log not anchored", written_long_ago, "audit log: ledger", "TW7355"),
    # network
    ("name does not resolve", machine(unknown=("127.0.0.1",)), "names", "TW7330"),
    ("proxy dead", environment(https_proxy="http://user:pass@127.0.0.1:9"), "proxy", "TW7331"),
    ("forwarder does not run", forwarder(), "way out", "TW6074"),
    ("its proxy is dead", forwarder(proxy="http://127.0.0.1:9"), "way out", "TW6062"),
    (
        "its proxy's password is not there",
        forwarder(proxy="http://127.0.0.1:9", proxy_credentials="secrets/none"),
        "way out",
        "TW1014",
    ),
    ("coordinator silent", coordinator_at("127.0.0.9"), "coordinator TLS", "TW6001"),
    ("clock ahead", lambda h: setattr(h.world.tips, "ahead", -60.0), "clock", "TW7321"),
    ("clock behind", lambda h: setattr(h.world.tips, "ahead", 60.0), "clock", "TW7321"),
    # ledger
    ("ledger silent", ledger_at("http://127.0.0.1:9"), "ledger", "TW5001"),
    ("another ledger", chain(genesis_hash="ab" * 32), "ledger", "TW5021"),
    ("other contracts", other_contracts, "ledger", "TW5023"),
]


@pytest.mark.parametrize(("damage", "check", "code"), [f[1:] for f in FAULTS],
                         ids=[f[0] for f in FAULTS])  # fmt: skip
def test_a_fault_is_named(hospital, damage, check, code):
    damage(hospital)
    found = hospital.examine(check)[check]
    assert (found.code, found.result in {Result.FAULT, Result.CONCERN}) == (code, True), found
    assert len(found.fix) > 10
    assert "pass" not in json.dumps(found.as_json())


def test_more_than_thirty_faults_are_provoked():
    assert len({code for *_, code in FAULTS}) >= 30
