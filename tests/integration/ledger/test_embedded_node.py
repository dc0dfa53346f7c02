"""The embedded node as a stranger's client sees it: Ethereum, durable, and never a crash."""

import http.client
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest
from eth_account import Account

from ledger.account import new_key
from ledger.deployed import artifact
from ledger.embedded.engine import Engine
from ledger.embedded.genesis import Genesis
from ledger.embedded.store import Store
from tests.simulators.ledger.network import CHAIN_ID, START, LedgerNetwork, RunningNode
from twinward.errors import LedgerError

TARGET = "0x" + "11" * 20


def rpc(client, url, method, *params):
    call = {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)}
    answer = client.post(url, json=call).json()
    assert answer["id"] == 7
    return answer


def transfer(account, nonce, **changes):
    values = {
        "type": 2,
        "chainId": CHAIN_ID,
        "nonce": nonce,
        "gas": 30_000,
        "maxFeePerGas": 0,
        "maxPriorityFeePerGas": 0,
        "to": TARGET,
        "value": 0,
        **changes,
    }
    return "0x" + account.sign_transaction(values).raw_transaction.hex()


@pytest.fixture
def client():
    with httpx.Client(trust_env=False) as client:
        yield client


@pytest.fixture
def account():
    return Account.from_key(new_key())


def started(folder, genesis_file=None):
    options = [] if genesis_file is None else ["--genesis", str(genesis_file)]
    process = subprocess.Popen(
        [sys.executable, "-m", "ledger.embedded", "--dir", str(folder), "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    if not line.startswith("ready "):
        raise RuntimeError(process.communicate()[1])
    return process, line.split()[1]


def stop(process, number=signal.SIGTERM):
    process.send_signal(number)
    process.wait(10)
    process.stdout.close()
    process.stderr.close()


@pytest.fixture
def genesis_file(tmp_path):
    path = tmp_path / "genesis.json"
    path.write_bytes(Genesis(chain_id=CHAIN_ID, timestamp=START).to_json())
    return path


# Durability


def test_after_kill_9_every_acknowledged_transaction_is_there(
    tmp_path, client, account, genesis_file
):
    """Kills the node in the middle of writing, several times, and compares with what it said."""
    luck, nonce, acknowledged = random.Random(5), 0, []
    genesis = genesis_file
    for _ in range(4):
        process, url = started(tmp_path / "node", genesis)
        genesis = None
        for tx_hash in acknowledged:
            receipt = rpc(client, url, "eth_getTransactionReceipt", tx_hash)["result"]
            assert receipt["status"] == "0x1"
            block = rpc(client, url, "eth_getBlockByNumber", receipt["blockNumber"])["result"]
            assert tx_hash in block["transactions"]
        count = int(rpc(client, url, "eth_getTransactionCount", account.address)["result"], 16)
        # What was being written when it died is there whole or not at all.
        assert len(acknowledged) <= count <= nonce
        nonce, before = count, len(acknowledged)
        killer = threading.Timer(0.15 + luck.random() / 4, process.kill)
        try:
            while True:
                raws = [transfer(account, nonce + n) for n in range(luck.randint(1, 5))]
                nonce += len(raws)
                calls = [
                    {"jsonrpc": "2.0", "id": n, "method": "eth_sendRawTransaction", "params": [raw]}
                    for n, raw in enumerate(raws)
                ]
                acknowledged += [a["result"] for a in client.post(url, json=calls).json()]
                if killer.ident is None:
                    killer.start()  # it has taken some by now
        except httpx.HTTPError:
            pass
        killer.join()
        stop(process, signal.SIGKILL)
        assert len(acknowledged) > before
    began = time.process_time()
    engine = Engine(Store(tmp_path / "node" / "chain.sqlite"))
    assert time.process_time() - began < 1.0
    assert engine.store.row("pragma integrity_check") == ("ok",)
    engine.store.close()


def test_a_second_node_on_the_same_folder_is_refused(tmp_path, genesis_file):
    process, _ = started(tmp_path / "node", genesis_file)
    with pytest.raises(RuntimeError, match="TW5012"):
        started(tmp_path / "node")
    stop(process)


def test_a_folder_with_another_genesis_is_refused(tmp_path, genesis_file):
    process, _ = started(tmp_path / "node", genesis_file)
    stop(process)
    genesis_file.write_bytes(Genesis(chain_id=CHAIN_ID, timestamp=START + 1).to_json())
    with pytest.raises(RuntimeError, match="TW5016"):
        started(tmp_path / "node", genesis_file)
    with pytest.raises(RuntimeError, match="TW5015"):
        started(tmp_path / "empty")


def test_a_damaged_database_is_said_to_be_damaged(tmp_path):
    (tmp_path / "chain.sqlite").write_bytes(b"no database, " * 500)
    with pytest.raises(LedgerError) as refusal:
        Store(tmp_path / "chain.sqlite")
    assert refusal.value.code == "TW5013"


def test_a_taken_port_is_said_to_be_taken(tmp_path, genesis_file):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "ledger.embedded", "--dir", str(tmp_path / "n")),
                *("--port", str(taken.getsockname()[1]), "--genesis", str(genesis_file)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "TW5017" in done.stderr


def test_a_block_that_cannot_be_written_leaves_nothing_and_the_node_goes_on(
    node, client, account, monkeypatch
):
    head = node.engine.head
    real = node.engine.store.insert

    def full(table, rows):
        if table == "logs":
            raise OSError("no space left on device")
        real(table, rows)

    monkeypatch.setattr(node.engine.store, "insert", full)
    answer = rpc(client, node.url, "eth_sendRawTransaction", transfer(account, 0))
    assert "no space left" in answer["error"]["message"]
    assert node.engine.head == head
    monkeypatch.undo()
    assert "result" in rpc(client, node.url, "eth_sendRawTransaction", transfer(account, 0))
    assert node.engine.head.block_number == head.block_number + 1


# Ethereum


def test_web3_py_deploys_calls_sends_and_reads_events(node, account):
    from requests import Session
    from web3 import HTTPProvider, Web3
    from web3.exceptions import ContractCustomError

    session = Session()
    web3 = Web3(HTTPProvider(node.url, session=session))
    assert web3.is_connected()
    assert web3.eth.chain_id == CHAIN_ID
    assert web3.eth.syncing is False
    assert bytes(web3.eth.get_block(0).hash) == node.genesis.hash()
    compiled = artifact("Membership")
    factory = web3.eth.contract(abi=compiled.abi, bytecode=compiled.bytecode)
    members = [(bytes([n]) * 32, Account.create().address, b"\7" * 32, 2) for n in (1, 2, 3)]
    sent = factory.constructor(b"\1" * 32, members).build_transaction(
        {"from": account.address, "nonce": web3.eth.get_transaction_count(account.address)}
    )
    tx_hash = web3.eth.send_raw_transaction(account.sign_transaction(sent).raw_transaction)
    receipt = web3.eth.wait_for_transaction_receipt(tx_hash)
    assert receipt.status == 1
    assert receipt.gasUsed <= sent["gas"] <= receipt.gasUsed * 1.05
    contract = web3.eth.contract(receipt.contractAddress, abi=compiled.abi)
    assert contract.functions.memberAt(2).call()[1] == members[1][1]
    events = contract.events.Joined().get_logs(from_block=receipt.blockNumber)
    assert [event.args.number for event in events] == [1, 2, 3]
    assert web3.eth.get_transaction(tx_hash).type == 2
    full = web3.eth.get_block("latest", full_transactions=True)
    assert full.transactions[0].hash == tx_hash
    with pytest.raises(ContractCustomError):
        contract.functions.endorse(members[0]).estimate_gas({"from": account.address})
    proof = web3.eth.get_proof(receipt.contractAddress, [0])
    assert bytes(proof.codeHash) == bytes(web3.keccak(web3.eth.get_code(receipt.contractAddress)))
    assert web3.eth.fee_history(2, "latest")["baseFeePerGas"] == [0] * 3
    session.close()


def test_gas_is_free_and_stays_free(node, client, account):
    for nonce in range(3):
        assert "result" in rpc(client, node.url, "eth_sendRawTransaction", transfer(account, nonce))
    block = rpc(client, node.url, "eth_getBlockByNumber", "latest")["result"]
    assert block["baseFeePerGas"] == "0x0"
    assert rpc(client, node.url, "eth_gasPrice")["result"] == "0x0"


def test_older_transaction_kinds_are_taken_and_shown(node, client, account):
    old = {"chainId": CHAIN_ID, "gas": 60_000, "gasPrice": 0, "to": TARGET, "value": 0}
    listed = [{"address": TARGET, "storageKeys": ["0x" + "01" * 32]}]
    for nonce, changes in enumerate([{}, {"type": 1, "accessList": listed}]):
        signed = account.sign_transaction({**old, "nonce": nonce, **changes})
        raw = f"0x{signed.raw_transaction.hex()}"
        tx_hash = rpc(client, node.url, "eth_sendRawTransaction", raw)["result"]
        shown = rpc(client, node.url, "eth_getTransactionByHash", tx_hash)["result"]
        assert shown["type"] == hex(nonce)
        assert shown["from"] == account.address.lower()
        assert shown.get("accessList", []) == changes.get("accessList", [])


def test_a_list_of_transactions_shares_one_block(node, client, account):
    before = node.engine.head.block_number
    calls = [
        {"jsonrpc": "2.0", "id": n, "method": "eth_sendRawTransaction", "params": [raw]}
        for n, raw in enumerate(transfer(account, n) for n in range(40))
    ]
    calls.append({"jsonrpc": "2.0", "id": 99, "method": "eth_blockNumber", "params": []})
    answers = client.post(node.url, json=calls).json()
    assert [answer["id"] for answer in answers] == [*range(40), 99]
    assert int(answers[-1]["result"], 16) == before + 1


def test_many_clients_at_once_lose_nothing(node):
    accounts = [Account.from_key(new_key()) for _ in range(8)]
    hashes, problems = [], []

    def write(account):
        with httpx.Client(trust_env=False, timeout=30) as client:
            for nonce in range(10):
                answer = rpc(client, node.url, "eth_sendRawTransaction", transfer(account, nonce))
                (hashes if "result" in answer else problems).append(answer)

    writers = [threading.Thread(target=write, args=(account,)) for account in accounts]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not problems
    assert len(hashes) == 80
    head = node.engine.head
    with node.node.reading() as engine:
        assert [engine.state(head).get_nonce(bytes.fromhex(a.address[2:])) for a in accounts] == [
            10
        ] * 8


def test_every_block_is_later_than_the_one_before(node, client, account):
    for nonce in range(5):
        rpc(client, node.url, "eth_sendRawTransaction", transfer(account, nonce))
    times = [
        int(rpc(client, node.url, "eth_getBlockByNumber", hex(n))["result"]["timestamp"], 16)
        for n in range(node.engine.head.block_number + 1)
    ]
    assert times == sorted(set(times))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"nonce": 3}, "nonce too high"),
        ({"chainId": 1}, "signed for chain 1"),
        ({"gas": 40_000_000}, "asks for more than"),
        ({"gas": 20_000}, "gas"),
        ({"value": 1}, "sender"),
    ],
    ids=["gap", "chain", "greedy", "too little gas", "no funds"],
)
def test_a_transaction_that_cannot_be_taken_is_refused_with_the_reason(
    node, client, account, changes, word
):
    raw = transfer(account, changes.pop("nonce", 0), **changes)
    answer = rpc(client, node.url, "eth_sendRawTransaction", raw)
    assert answer["error"]["code"] == -32000
    assert word in answer["error"]["message"].lower()
    assert rpc(client, node.url, "eth_getTransactionCount", account.address)["result"] == "0x0"


def test_a_repeated_transaction_is_already_known(node, client, account):
    raw = transfer(account, 0)
    assert "result" in rpc(client, node.url, "eth_sendRawTransaction", raw)
    assert rpc(client, node.url, "eth_sendRawTransaction", raw)["error"]["message"] == (
        "already known"
    )
    other = transfer(account, 0, value=0, data="0x01")
    assert (
        "nonce too low"
        in rpc(client, node.url, "eth_sendRawTransaction", other)["error"]["message"]
    )


def test_an_old_state_stays_readable(node, client, network):
    number = rpc(client, node.url, "eth_blockNumber")["result"]
    before = rpc(client, node.url, "eth_getStorageAt", network.contracts.provenance, "0x0", number)
    network.coordinator.raise_fence()
    account = network.coordinator.account
    counts = [
        rpc(client, node.url, "eth_getTransactionCount", account, block)["result"]
        for block in (number, "latest")
    ]
    assert int(counts[0], 16) + 1 == int(counts[1], 16)
    assert before == rpc(
        client, node.url, "eth_getStorageAt", network.contracts.provenance, "0x0", number
    )


# Whatever arrives

GARBAGE = [
    (b"{", -32700),
    (b"\xff\xfe", -32700),
    (b"[" * 100_000, -32700),
    (b"[]", -32600),
    (b"1", -32600),
    (b'{"method": 5}', -32600),
    (b'{"method": "eth_nonsense"}', -32601),
    (b'{"method": "__init__"}', -32601),
    (b'{"method": "call"}', -32601),
    (b'{"method": "eth_call", "params": {"a": 1}}', -32602),
    (b'{"method": "eth_call"}', -32602),
    (b'{"method": "eth_call", "params": [1, 2, 3, 4]}', -32602),
    (b'{"method": "eth_getBalance", "params": ["0x12"]}', -32602),
    (b'{"method": "eth_getBlockByHash", "params": [[]]}', -32602),
    (b'{"method": "eth_getStorageAt", "params": ["0x%s", "0xzz"]}' % (b"11" * 20), -32602),
    (b'{"method": "eth_getBalance", "params": ["0x%s", "0xffff"]}' % (b"11" * 20), -32602),
    (b'{"method": "eth_getLogs", "params": [{"topics": [["0x1"]]}]}', -32602),
    (b'{"method": "eth_getProof", "params": ["0x%s", "0x0"]}' % (b"11" * 20), -32602),
    (b'{"method": "eth_sendRawTransaction", "params": ["0x"]}', -32000),
    (b'{"method": "eth_sendRawTransaction", "params": ["0x02c0"]}', -32000),
    (b'{"method": "eth_sendRawTransaction", "params": ["0x03%s"]}' % (b"c0" * 40), -32000),
]


@pytest.mark.parametrize(("body", "code"), GARBAGE)
def test_garbage_gets_a_clean_error(node, client, body, code):
    answer = client.post(node.url, content=body).json()
    assert answer["error"]["code"] == code
    assert rpc(client, node.url, "eth_chainId")["result"] == hex(CHAIN_ID)


def test_deeply_nested_rlp_is_refused(node, client):
    heads, length = [], 0
    while length < 100_000:
        size = (length.bit_length() + 7) // 8
        long_form = bytes([0xF7 + size]) + length.to_bytes(size, "big")
        heads.append(bytes([0xC0 + length]) if length < 56 else long_form)
        length += len(heads[-1])
    nested = b"".join(reversed(heads))
    for raw in (nested, b"\x02" + nested, bytes(200_000)):
        answer = rpc(client, node.url, "eth_sendRawTransaction", f"0x{raw.hex()}")
        assert answer["error"]["code"] == -32000


def test_random_bytes_as_transactions_never_crash_the_node(node, client):
    luck = random.Random(11)
    for _ in range(200):
        raw = "0x" + luck.randbytes(luck.randint(0, 120)).hex()
        assert rpc(client, node.url, "eth_sendRawTransaction", raw)["error"]["code"] == -32000


def test_a_request_that_is_too_large_is_refused_unread(node, client):
    connection = http.client.HTTPConnection(node.url.removeprefix("http://"))
    connection.putrequest("POST", "/")
    connection.putheader("Content-Length", str(2**40))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    too_many = json.dumps([{"method": "eth_chainId"}] * 1_001)
    assert client.post(node.url, content=too_many).json()["error"]["code"] == -32600


def test_a_web_page_cannot_talk_to_the_node(node, client):
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    assert client.post(node.url, json=call, headers={"Origin": "https://x.org"}).status_code == 403


def test_a_client_that_hangs_up_hurts_nobody(node, client):
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", node.server.server_address[1])) as raw:
            raw.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
    assert rpc(client, node.url, "eth_chainId")["result"] == hex(CHAIN_ID)


def test_a_call_that_loops_for_ever_runs_out_of_gas(node, client):
    # JUMPDEST PUSH1 0 JUMP, as the init code of a contract that is never made.
    call = {"data": "0x5b600056", "gas": hex(200_000)}
    answer = rpc(client, node.url, "eth_call", call)
    assert answer["error"]["code"] == 3
    assert "OutOfGas" in answer["error"]["message"]


# Genesis


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"chainId": 0, "timestamp": 1}',
        b'{"chainId": "1", "timestamp": 1}',
        b'{"chainId": 1, "timestamp": 1, "alloc": {"0x12": 1}}',
        b'{"chainId": 1, "timestamp": 1, "alloc": {"0x%s": "-1"}}' % (b"11" * 20),
        b'{"chainId": 1, "timestamp": 1, "extraData": "0x%s"}' % (b"11" * 33),
        b'{"chainId": 1, "timestamp": 1, "more": 1}',
    ],
)
def test_a_bad_genesis_file_is_refused(text):
    with pytest.raises(LedgerError) as refusal:
        Genesis.from_json(text)
    assert refusal.value.code == "TW5011"


def test_equal_genesis_files_give_equal_chains_and_any_change_another(tmp_path):
    first = Genesis(chain_id=5, timestamp=START, alloc={b"\1" * 20: 10**18}, extra=b"x")
    assert Genesis.from_json(first.to_json()) == first
    others = [
        Genesis(chain_id=5, timestamp=START + 1, alloc=first.alloc, extra=b"x"),
        Genesis(chain_id=5, timestamp=START, alloc={b"\1" * 20: 10**18 + 1}, extra=b"x"),
        Genesis(chain_id=5, timestamp=START, alloc=first.alloc, extra=b"y"),
    ]
    assert len({genesis.hash() for genesis in [first, *others]}) == 4
    running = RunningNode(tmp_path, genesis=first)
    assert running.engine.head.hash == first.hash()
    running.stop()


def test_the_whole_network_runs_over_the_command_line_node(tmp_path, genesis_file):
    process, url = started(tmp_path / "node", genesis_file)
    genesis = Genesis.from_json(genesis_file.read_bytes()).hash()
    network = LedgerNetwork(url, genesis=genesis, hospitals=3)
    network.hospitals[0].raise_fence()
    network.close()
    stop(process)
    process, url = started(tmp_path / "node")
    reader = LedgerNetwork(url, genesis=genesis, keys=network.keys)
    assert reader.coordinator.fence(network.hospitals[0].account) == 1
    assert reader.coordinator.tip().number == 8  # four contracts, three caps, one start
    reader.close()
    stop(process)
    assert (tmp_path / "node").stat().st_mode & 0o077 == 0
