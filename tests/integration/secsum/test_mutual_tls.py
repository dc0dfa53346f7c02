"""The drivers over real gRPC: who gets in, and who does not."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from hospital_node.secure_sum_stream import grpc_streams
from server.secure_sum import SecureSumRun
from server.transcript import Transcript
from tests.simulators.secsum.coordinator import Service
from tests.simulators.secsum.tls import Authority
from tests.simulators.secsum.wire import DIMENSION, LIMIT, PLAN, Site
from twinward.errors import TwinwardError
from twinward.rpc.messages_pb2_grpc import add_NetworkServicer_to_server
from twinward.signing import Identity

RUN = b"R" * 32
STEPS = 5


class World:
    """A coordinator on a loopback port with mutual TLS, and sites with certificates."""

    def __init__(self, folder, *, members=4):
        self.authority, self.coordinator = Authority(), Identity.generate()
        self.sites = [Site() for _ in range(members)]
        self.record = Transcript.create(folder / "run.sqlite", run=RUN, plan=PLAN)
        self.sum = SecureSumRun(
            identity=self.coordinator,
            run=RUN,
            plan_digest=PLAN,
            members={site.name: site.identity.public for site in self.sites},
            dimension=DIMENSION,
            word_bits=64,
            max_abs_sum=LIMIT,
            steps=STEPS,
            spare_attempts=2,
            deadline_seconds=2.0,
            record=self.record,
            progress=_ignore,
        )

    async def __aenter__(self):
        self.server = grpc.aio.server()
        add_NetworkServicer_to_server(Service({RUN: self.sum}), self.server)
        port = self.server.add_secure_port("127.0.0.1:0", self.authority.server_credentials())
        self.address = f"127.0.0.1:{port}"
        await self.server.start()
        return self

    async def __aexit__(self, *_):
        await self.server.stop(0.1)
        self.record.close()

    async def join(self, site, *, name=None, authority=None, run=RUN, **changed):
        key, certificate = (authority or self.authority).issue(name or site.name)
        credentials = grpc.ssl_channel_credentials(self.authority.pem, key, certificate)
        async with grpc.aio.secure_channel(self.address, credentials) as channel:
            return await site.join(
                grpc_streams(channel),
                sites=self.sites,
                coordinator=self.coordinator,
                run=run,
                steps=STEPS,
                **changed,
            )


async def refusal(joining):
    with pytest.raises(TwinwardError) as refused:
        await joining
    return refused.value.code


def in_world(folder, scenario):
    async def inside():
        async with asyncio.timeout(20), World(folder) as world:
            await scenario(world)

    asyncio.run(inside())


def test_four_sites_finish_a_run_and_agree(tmp_path):
    async def scenario(world):
        joined = [asyncio.create_task(world.join(site)) for site in world.sites]
        outcome = await world.sum.drive(gather_seconds=5, patience_seconds=2)
        results = await asyncio.gather(*joined)
        assert {result.history for result in results} == {outcome.history}
        assert set(results[0].members) == {site.name for site in world.sites}
        # A member that lost its connection at the very end is told how the run went.
        late = Site()
        late.identity, late.name = world.sites[0].identity, world.sites[0].name
        again = await world.join(late)
        assert again.history == outcome.history
        assert late.marks == []

    in_world(tmp_path, scenario)


def test_a_stranger_with_a_good_certificate_is_refused(tmp_path):
    async def scenario(world):
        assert await refusal(world.join(Site())) == "TW6121"

    in_world(tmp_path, scenario)


def test_a_member_with_anothers_certificate_is_not_believed(tmp_path):
    """Stolen TLS key, own identity: the greeting is not signed by whom the certificate names."""

    async def scenario(world):
        thief, robbed = world.sites[0], world.sites[1]
        drive = asyncio.create_task(world.sum.drive(gather_seconds=1, patience_seconds=0.1))
        assert await refusal(world.join(thief, name=robbed.name)) == "TW6120"
        await asyncio.gather(drive, return_exceptions=True)

    in_world(tmp_path, scenario)


def test_a_certificate_of_another_authority_does_not_connect(tmp_path):
    async def scenario(world):
        joining = world.join(world.sites[0], authority=Authority(), patience_seconds=0.3)
        assert await refusal(joining) == "TW6122"

    in_world(tmp_path, scenario)


def test_a_run_that_the_coordinator_does_not_know_is_refused_clearly(tmp_path):
    async def scenario(world):
        assert await refusal(world.join(world.sites[0], run=b"X" * 32)) == "TW6123"

    in_world(tmp_path, scenario)


async def _ignore(event):
    del event
