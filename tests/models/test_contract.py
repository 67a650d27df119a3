"""The contract's defaults: what a model of another package need not say."""

import asyncio
import gc

import pytest

import headrace
from headrace.core.ready_queue import ReadyQueue
from headrace.core.statistics import Statistics
from headrace.models.contract import Model
from headrace.models.poll import PollReadiness
from headrace.models.reactor import Reactor
from headrace.models.simulated import SimulatedModel


class SilentModel(SimulatedModel):
    """Declares nothing."""

    name = "silent"
    capabilities = {}  # noqa: RUF012


class SilentReadiness(PollReadiness):
    """Declares nothing."""

    name = "silent"
    capabilities = {}  # noqa: RUF012


async def echo_once():
    async def serve(reader, writer):
        writer.write(await reader.readexactly(5))
        writer.close()
        await writer.wait_closed()
        served.set_result(None)

    served = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    await served
    server.close()
    await server.wait_closed()
    return answer


@pytest.mark.parametrize(
    "make_model", [SilentModel, lambda: Reactor(SilentReadiness())], ids=["model", "readiness"]
)
def test_model_that_declares_no_capability_serves(make_model):
    with asyncio.Runner(loop_factory=lambda: headrace.EventLoop(make_model())) as runner:
        assert runner.run(echo_once()) == b"hello"


def test_model_promises_nothing_by_default():
    assert Model.capabilities["descriptor_max"] is None
    assert not any(Model.capabilities.values())


def test_model_that_is_dropped_open_closes_before_its_members_are_cleared():
    class Closing(SimulatedModel):
        def close(self):
            closed_with.append(self.member["itself"] is self)
            super().close()

    closed_with = []
    model = Closing()
    model.connect(ReadyQueue(), Statistics())
    model.open()
    model.member = {"itself": model}
    del model
    gc.collect()
    assert closed_with == [True]
