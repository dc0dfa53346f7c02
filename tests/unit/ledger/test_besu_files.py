"""What four Besu validators would start from. Besu itself is not run here."""

import importlib.util
import json
import re
import tomllib
from pathlib import Path

import pytest
import rlp
from coincurve import PrivateKey

from ledger.account import address_of
from ledger.embedded.genesis import GAS_LIMIT
from server.founding_ceremony import CHAIN_ID

DOCKER = Path(__file__).parents[3] / "docker"
_spec = importlib.util.spec_from_file_location("besu_network", DOCKER / "besu_network.py")
besu_network = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(besu_network)

KEYS = [PrivateKey() for _ in range(4)]
PUBLIC = [key.public_key.format(compressed=False) for key in KEYS]
HOSTS = [f"172.28.0.{11 + n}" for n in range(4)]
ACCOUNTS = [f"0x{n:040x}" for n in range(1, 6)]


def arguments(out, *, keys=PUBLIC, accounts=ACCOUNTS, hosts=HOSTS):
    words = [str(out)]
    for host, key in zip(hosts, keys, strict=False):
        words += ["--validator", f"{host}={key.hex()}"]
    for account in accounts:
        words += ["--account", account]
    return words


@pytest.fixture
def files(tmp_path):
    assert besu_network.main(arguments(tmp_path)) == 0
    return tmp_path


def test_the_genesis_names_the_validators_as_qbft_wants_them(files):
    genesis = json.loads((files / "genesis.json").read_text())
    vanity, validators, vote, round_number, seals = rlp.decode(
        bytes.fromhex(genesis["extraData"][2:])
    )
    assert (len(vanity), vote, round_number, seals) == (32, [], b"", [])
    assert {f"0x{one.hex()}" for one in validators} == {address_of(key.secret) for key in KEYS}
    assert validators == sorted(validators)
    # The same layout as the example in the documentation of Besu.
    assert genesis["extraData"].startswith("0xf87aa0" + "00" * 32 + "f85494")
    assert genesis["extraData"].endswith("c080c0")


def test_the_chain_has_the_rules_that_the_contracts_were_compiled_for(files):
    genesis = json.loads((files / "genesis.json").read_text())
    config = genesis["config"]
    assert config["chainId"] == CHAIN_ID
    assert config["cancunTime"] == config["shanghaiTime"] == 0
    assert config["berlinBlock"] == config["londonBlock"] == 0
    assert set(config["qbft"]) == {"blockperiodseconds", "epochlength", "requesttimeoutseconds"}
    assert config["qbft"]["requesttimeoutseconds"] > config["qbft"]["blockperiodseconds"]
    build = (DOCKER.parent / "ledger/contracts/build.js").read_text()
    assert 'evmVersion: "cancun"' in build


def test_gas_is_free_so_that_anyone_can_bring_a_withdrawal(files):
    genesis = json.loads((files / "genesis.json").read_text())
    assert genesis["config"]["zeroBaseFee"] is True
    assert genesis["baseFeePerGas"] == "0x0"
    assert int(genesis["gasLimit"], 16) == GAS_LIMIT
    assert genesis["alloc"] == {}  # nobody owns coins
    assert "--min-gas-price=0" in (DOCKER / "compose.besu.yaml").read_text()


def test_only_validators_connect_and_no_list_holds_a_withdrawal_back(files):
    static = json.loads((files / "static-nodes.json").read_text())
    rules = tomllib.loads((files / "permissions.toml").read_text())
    assert rules == {"nodes-allowlist": static, "accounts-allowlist": ACCOUNTS}
    compose = (DOCKER / "compose.besu.yaml").read_text()
    assert "--permissions-nodes-config-file-enabled=true" in compose
    assert "--permissions-accounts-config-file-enabled=false" in compose
    for node, key, host in zip(static, PUBLIC, HOSTS, strict=True):
        assert node == f"enode://{key[1:].hex()}@{host}:30303"


def test_the_compose_file_and_the_script_agree():
    compose = (DOCKER / "compose.besu.yaml").read_text()
    assert re.findall(r"ipv4_address: ([0-9.]+)", compose) == HOSTS
    for name in ("genesis.json", "static-nodes.json", "permissions.toml"):
        assert f"/network/{name}" in compose
    published = re.findall(r'ports: \["([^"]+)"\]', compose)
    assert len(published) == 4
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize(
    "changes",
    [
        {"keys": PUBLIC[:3]},
        {"keys": [PUBLIC[0]] * 4},
        {"keys": [b"\x04" * 10] * 4},
        {"accounts": []},
        {"accounts": ["0x12"]},
        {"hosts": ["validator1", *HOSTS[1:]]},
    ],
)
def test_a_network_that_could_not_work_is_not_written(tmp_path, changes, capsys):
    with pytest.raises(SystemExit):
        besu_network.main(arguments(tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()
    assert capsys.readouterr().err
