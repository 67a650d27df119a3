"""A user's program: what ``mypy --strict`` must accept, and the types it must find.

It is type-checked by tests/test_typing.py and also runs, so that it cannot promise what is not so.
"""

import asyncio
from typing import assert_type

import headrace


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.readline()).upper())
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def main() -> bytes:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"water\n")
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
    return line


async def model_in_use() -> str:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, headrace.EventLoop)
    assert_type(loop.model, str)
    return loop.model


def choose() -> str | None:
    for model in headrace.models():
        assert_type(model, headrace.ModelInfo)
        assert_type(model.name, str)
        assert_type(model.stevens, str)
        assert_type(model.available, bool)
        assert_type(model.reason, str | None)
        assert_type(model.system_calls, tuple[str, ...])
        if model.default:
            return model.name
    return None


async def mistakes() -> None:
    """Each is found: mypy --strict refuses an ignore that hides nothing.  Never run."""
    loop = headrace.new_event_loop()
    await loop.create_server(asyncio.Protocol, nonsense=3)  # type: ignore[call-overload]
    await loop.create_server(asyncio.Protocol, "127.0.0.1", "80")  # type: ignore[call-overload]
    await loop.create_unix_server(asyncio.Protocol, "path", nonsense=3)  # type: ignore[call-arg]
    await loop.create_connection(asyncio.Protocol, nonsense=3)  # type: ignore[call-overload]
    loop.call_later("1", print)  # type: ignore[arg-type]


async def servers() -> None:
    loop = headrace.new_event_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, backlog=5)
    assert_type(server, asyncio.Server)
    _, protocol = await loop.create_connection(asyncio.Protocol, "127.0.0.1", 80)
    assert_type(protocol, asyncio.Protocol)


def program() -> None:
    assert_type(headrace.run(main()), bytes)
    assert_type(headrace.run(main(), model="epoll", debug=True), bytes)
    assert_type(headrace.new_event_loop(), headrace.EventLoop).close()
    loop: asyncio.AbstractEventLoop = headrace.EventLoop(model=choose())
    loop.close()
    with asyncio.Runner(loop_factory=headrace.new_event_loop) as runner:
        assert_type(runner.run(model_in_use()), str)
    try:
        headrace.new_event_loop("kqueue")
    except headrace.UnknownModelError as error:
        print(error)
    except headrace.ModelUnavailableError as error:
        print(error)


if __name__ == "__main__":
    program()
