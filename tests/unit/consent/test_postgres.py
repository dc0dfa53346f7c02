"""A vault in a hospital's own server: what its address may say, and which servers are refused."""

import datetime as dt
import socket
import threading
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from consent.postgres_url import PostgresUrl
from consent.vault import Vault
from tests.simulators import postgres
from tests.simulators.consent.world import STUDY, VAULT_KEY
from twinward.errors import ConsentError, UsageError
from twinward.ids import RecordNumber

pytestmark = pytest.mark.skipif(not postgres.is_here(), reason=postgres.WHY_NOT)


@pytest.fixture
def server():
    with postgres.all_closed():
        yield postgres.shared()


@pytest.fixture
def url(server, tmp_path):
    return server.vault(tmp_path)


def opened(url, **how):
    return Vault.open(url, key=VAULT_KEY, **how)


def enrol(vault, name="R1"):
    return vault.enrol(STUDY.id32, [RecordNumber(name)], valid_until=9)


def refused(expected, call, *args, **how):
    with pytest.raises((ConsentError, UsageError)) as error:
        call(*args, **how)
    assert error.value.code == expected
    return error.value.diagnostic


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://twinward:secret@db.example/consents",
        "postgresql://twinward@db.example/consents?password=secret",
        "postgresql://twinward@db.example/consents?sslmode=require",
        "postgresql://twinward@db.example/consents?sslmode=disable",
        "postgresql://twinward@10.0.0.7/consents?sslmode=prefer",
        "postgresql://twinward@db.example/consents?options=-cfsync=off",
        "postgresql://twinward@one.example,two.example/consents?sslmode=prefer",
        "postgresql://twinward@localhost/consents?host=db.example&sslmode=disable",
        "postgresql://twinward@127.0.0.1/consents?hostaddr=10.0.0.7",
        "postgresql://db.example/consents",
        "postgresql://twinward@db.example/",
        "postgresql://twinward@db.example:many/consents",
        "postgresql://twinward@db.example/consents?what",
        "mysql://twinward@db.example/consents",
        "state/vault.sqlite",
    ],
)
def test_an_address_that_gives_something_away_is_refused_without_repeating_it(text):
    said = refused("TW3162", PostgresUrl.parse, text)
    assert "secret" not in said.as_text()


def test_a_server_elsewhere_has_to_show_its_certificate():
    there = PostgresUrl.parse("postgresql://twinward@db.example/consents?sslrootcert=/ca.pem")
    assert dict(there.options) == {"sslmode": "verify-full", "sslrootcert": "/ca.pem"}
    here = PostgresUrl.parse("postgresql://twinward@/consents?host=/run/postgresql")
    assert (here.host, dict(here.options)["sslmode"]) == ("/run/postgresql", "prefer")


def test_without_the_driver_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setattr("consent.postgres_url.find_spec", lambda _name: None)
    said = refused("TW3161", PostgresUrl.parse, "postgresql://twinward@/consents?host=/run")
    assert "twinward[postgresql]" in said.help


def test_a_second_node_on_one_vault_is_refused_and_the_first_is_named(url, monkeypatch):
    monkeypatch.setattr("consent.postgres_server._ALONE_SECONDS", 0.01)
    first = opened(url, alone=True)
    said = refused("TW3167", opened, url, alone=True)
    assert "twinward, process" in said.note
    enrol(opened(url))  # a command of the same hospital beside its daemon
    first.store.close()
    opened(url, alone=True)


def test_another_hospitals_vault_does_not_open(url):
    opened(url)
    refused("TW8641", Vault.open, url, key=bytes(32))


def test_a_schema_with_others_tables_is_left_alone(server, url):
    server.sql(f"create schema {url.schema}; create table {url.schema}.theirs (x int)")
    refused("TW3169", opened, url)
    assert server.sql(f"select count(*) from pg_tables where schemaname = '{url.schema}'") == "1"


def test_a_role_without_rights_is_told_what_it_lacks(server, url):
    server.sql("create role visitor login")
    refused("TW3166", opened, replace(url, user="visitor"))
    opened(url)
    refused("TW3166", opened, replace(url, user="visitor"))
    refused("TW3163", opened, replace(url, user="nobody-of-ours"))
    refused("TW3163", opened, replace(url, database="elsewhere"))


def test_a_server_that_is_not_there_is_named_and_may_be_asked_again(url, tmp_path):
    said = refused("TW3160", opened, replace(url, host=str(tmp_path)))
    assert said.exit_status == 5
    assert "vault_server" in said.at
    assert str(tmp_path) not in said.as_text()  # patients are told, too


def test_a_server_that_is_too_old_is_refused(url, monkeypatch):
    monkeypatch.setattr("consent.postgres_server.OLDEST", 990_000)
    refused("TW3164", opened, url)


def test_a_standby_that_cannot_write_is_refused(server, url):
    opened(url)
    server.sql(f"create role reader login; grant all on schema {url.schema} to reader;"
               "alter role reader set default_transaction_read_only = on")  # fmt: skip
    refused("TW3171", opened, replace(url, user="reader"))


def test_a_server_that_forgets_what_it_confirmed_is_refused():
    with postgres.server(fsync="off") as careless:
        said = refused("TW3165", opened, careless.url)
        assert "fsync" in said.message


def test_a_password_is_asked_for_and_is_in_no_error(tmp_path):
    with postgres.server(hba="local all guest scram-sha-256") as strict:
        strict.sql("create role guest login password 'open-sesame'; create schema twinward"
                   " authorization guest")  # fmt: skip
        guest = replace(strict.url, user="guest")
        refused("TW3163", opened, guest)
        passfile = tmp_path / "passfile"
        for word in ("wrong-word", "open-sesame"):
            passfile.write_text(f"*:*:*:guest:{word}\n")
            passfile.chmod(0o600)
            told = replace(guest, options=(*guest.options, ("passfile", str(passfile))))
            if word == "wrong-word":
                assert word not in refused("TW3163", opened, told).as_text()
            else:
                vault = opened(told)
                enrol(vault)
                vault.store.close()


def certificate(name):
    """A certificate of its own authority, for this name, and its key."""
    key, said = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(said)
        .issuer_name(said)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(pem), private


def test_a_server_with_anothers_certificate_or_none_is_not_talked_to(tmp_path):
    cert, key = certificate("localhost")
    ours, others = tmp_path / "ours.pem", tmp_path / "others.pem"
    ours.write_bytes(cert)
    others.write_bytes(certificate("localhost")[0])
    (port,) = free_port()
    with postgres.server(
        hba="hostssl all all 127.0.0.1/32 trust", port=str(port), listen_addresses="127.0.0.1",
        ssl="on", ssl_cert_file="server.crt", ssl_key_file="server.key",
        files={"server.crt": cert, "server.key": key},
    ) as server:  # fmt: skip
        text = "postgresql://twinward@{}:{}/consents?sslmode=verify-full&sslrootcert={}"
        vault = opened(PostgresUrl.parse(text.format("localhost", port, ours)))
        assert vault.store.row("select ssl from pg_stat_ssl where pid = pg_backend_pid()") == (
            True,
        )
        vault.store.close()
        for host, trusted in (("localhost", others), ("127.0.0.1", ours)):
            wrong = PostgresUrl.parse(text.format(host, port, trusted))
            said = refused("TW3163", opened, wrong)
            assert "certificate" in said.note
        server.kill()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1:]


def test_a_vault_that_went_back_in_time_is_refused_until_the_node_is_started_anew(server, url):
    vault = opened(url)
    enrol(vault)
    server.sql(f"update {url.schema}.vault set count = 0")
    refused("TW3168", enrol, vault)
    assert vault.store.row("select count(*) from enrolments") == (1,)
    vault.store._connection.close()
    refused("TW3168", vault.store.rows, "select 1")


def test_another_vault_in_the_place_of_the_one_that_was_open_is_refused(server, url):
    vault = opened(url)
    server.sql(f"update {url.schema}.vault set name = 'another', count = 99")
    refused("TW3168", enrol, vault)


def test_a_newer_form_that_came_meanwhile_is_refused(server, url):
    vault = opened(url)
    server.sql(f"update {url.schema}.vault set form = 99")
    refused("TW3021", enrol, vault)
    refused("TW3021", opened, url)


def test_whoever_writes_waits_for_whoever_else_does_and_not_for_ever(url, monkeypatch):
    first, second = opened(url), opened(url)
    monkeypatch.setattr("consent.postgres_server._WAIT_MS", 200)
    impatient, inside, go_on = opened(url), threading.Event(), threading.Event()

    def slow():
        with first.store.transaction() as database:
            database.execute("update site set key_check = key_check")
            inside.set()
            go_on.wait(30)

    writer = threading.Thread(target=slow)
    writer.start()
    assert inside.wait(30)
    refused("TW3170", enrol, impatient)
    waits = threading.Thread(target=enrol, args=(second,))
    waits.start()
    go_on.set()
    waits.join(30)
    writer.join(30)
    assert second.store.row("select count(*) from enrolments") == (1,)
    enrol(impatient, "R2")


def test_nobody_stands_in_the_servers_files_in_the_clear(server, url):
    opened(url).enrol(STUDY.id32, [RecordNumber("MRN-4711-7")], valid_until=9)
    server.sql("checkpoint")
    everything = b"".join(path.read_bytes() for path in server.data.rglob("*") if path.is_file())
    assert b"enrolments" in everything
    assert b"MRN-4711" not in everything
