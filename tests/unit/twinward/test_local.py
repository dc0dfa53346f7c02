import asyncio
import os

import grpc
import pytest

from twinward.errors import IdentityError, UsageError
from twinward.rpc.local import LocalAddress, local_channel, local_server
from twinward.rpc.messages_pb2 import Blob, Nothing
from twinward.rpc.messages_pb2_grpc import (
    NodeLocalServicer,
    NodeLocalStub,
    add_NodeLocalServicer_to_server,
)


class Answers(NodeLocalServicer):
    async def Status(self, request, context):
        return Blob(data=b"here")


async def _served(address, call):
    server = local_server(address)
    add_NodeLocalServicer_to_server(Answers(), server)
    await server.start()
    try:
        return await asyncio.to_thread(call)
    finally:
        await server.stop(0)


def _status(address):
    with local_channel(address) as channel:
        return NodeLocalStub(channel).Status(Nothing(), timeout=10).data


def test_a_caller_with_the_token_is_answered(tmp_path):
    address = LocalAddress.of(tmp_path)
    assert asyncio.run(_served(address, lambda: _status(address))) == b"here"


def test_a_process_of_the_same_user_without_the_token_is_refused(tmp_path):
    address = LocalAddress.of(tmp_path)

    def call():
        options = [("grpc.default_authority", "localhost")]
        with grpc.insecure_channel(f"unix:{address.socket}", options=options) as channel:
            with pytest.raises(grpc.RpcError) as refused:
                NodeLocalStub(channel).Status(Nothing(), timeout=10)
            return refused.value.code()

    assert asyncio.run(_served(address, call)) is grpc.StatusCode.UNAUTHENTICATED


def test_a_token_of_an_earlier_start_is_refused(tmp_path):
    address = LocalAddress.of(tmp_path)

    async def twice():
        await _served(address, lambda: _status(address))
        old = address.token_file.read_bytes()

        def call_with_old_token():
            address.token_file.write_bytes(old)
            with pytest.raises(grpc.RpcError) as refused:
                _status(address)
            return refused.value.code()

        return await _served(address, call_with_old_token)

    assert asyncio.run(twice()) is grpc.StatusCode.UNAUTHENTICATED


def test_socket_folder_and_token_belong_to_their_owner_alone(tmp_path):
    address = LocalAddress.of(tmp_path)
    address.prepare()
    assert address.socket.parent.stat().st_mode & 0o777 == 0o700
    assert address.token_file.stat().st_mode & 0o777 == 0o600


def test_an_open_socket_folder_is_refused(tmp_path):
    address = LocalAddress.of(tmp_path)
    address.socket.parent.mkdir(mode=0o755)
    os.chmod(address.socket.parent, 0o755)
    with pytest.raises(IdentityError) as refused:
        address.prepare()
    assert refused.value.code == "TW2021"


def test_a_deep_folder_still_gets_a_short_private_socket(tmp_path):
    address = LocalAddress.of(tmp_path / ("deep" * 40))
    assert len(str(address.socket)) < 104
    assert address == LocalAddress.of(tmp_path / ("deep" * 40))


def test_without_a_daemon_the_fix_is_named(tmp_path):
    with pytest.raises(UsageError) as refused:
        local_channel(LocalAddress.of(tmp_path))
    assert refused.value.code == "TW1040"


def test_a_process_started_without_the_launcher_has_no_credential(monkeypatch):
    monkeypatch.delenv("TWINWARD_DAEMON_SOCKET", raising=False)
    with pytest.raises(IdentityError) as refused:
        LocalAddress.from_environment()
    assert refused.value.code == "TW2020"
