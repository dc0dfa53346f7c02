"""Whoever stands between a hospital and the coordinator it was invited by gets nothing."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from hospital_node.join_link import JoinLink, pinned_authority
from tests.simulators.secsum.tls import Authority
from twinward.errors import TwinwardError
from twinward.join_token import JoinToken
from twinward.reach import Reach
from twinward.rpc.messages_pb2 import Blob


def der(pem):
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


class Answering(grpc.GenericRpcHandler):
    """Answers every call and keeps what it was sent."""

    def __init__(self):
        self.heard = []

    def service(self, details):
        def answer(request, _context):
            self.heard.append(request.data)
            return Blob(data=b'{"hospital":"station","network":"demo","protocol":1}')

        return grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=Blob.FromString, response_serializer=Blob.SerializeToString
        )


@contextmanager
def listening(by, *, shown=b""):
    """A server with a certificate of this authority, which shows these certificates besides."""
    key, certificate = by.issue("server")
    handler = Answering()
    server = grpc.server(ThreadPoolExecutor(2), handlers=[handler])
    credentials = grpc.ssl_server_credentials([(key, certificate + shown)])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield f"127.0.0.1:{port}", handler.heard
    finally:
        server.stop(None).wait()


def token_for(authority, address):
    return JoinToken(address, hashlib.sha256(der(authority.pem)).digest(), b"\7" * 32)


def test_the_coordinator_is_known_by_the_fingerprint_in_the_token():
    genuine = Authority()
    with listening(genuine, shown=genuine.pem) as (address, heard):
        token = token_for(genuine, address)
        assert der(pinned_authority(token, reach=Reach())) == der(genuine.pem)
        with JoinLink(token, reach=Reach()) as link:
            assert link.hello()["hospital"] == "station"
        assert len(heard) == 1


def test_another_authority_in_between_is_told_nothing():
    genuine, other = Authority(), Authority()
    with listening(other, shown=other.pem) as (address, heard):
        with pytest.raises(TwinwardError) as refusal:
            JoinLink(token_for(genuine, address), reach=Reach())
        assert refusal.value.code == "TW6020"
        assert not heard


def test_showing_the_genuine_authority_without_a_certificate_of_it_is_not_enough():
    genuine, other = Authority(), Authority()
    with listening(other, shown=genuine.pem) as (address, heard):
        with JoinLink(token_for(genuine, address), reach=Reach()) as link:
            with pytest.raises(TwinwardError) as refusal:
                link.hello()
            assert refusal.value.code == "TW6021"
        assert not heard


def test_nobody_there_is_said_so():
    with pytest.raises(TwinwardError) as refusal:
        pinned_authority(token_for(Authority(), "127.0.0.1:1"), reach=Reach())
    assert refusal.value.code == "TW6021"
    assert refusal.value.diagnostic.exit_status == 5
