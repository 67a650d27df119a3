"""Readers, writers and their protocol: asyncio's classes, with native parts where bytes pass.

A class of asyncio's is the second base of each: isinstance() holds, and what is not native is
inherited, version by version, and works on the native state through asyncio's names for it.
"""

import asyncio
import contextvars
import sys
from asyncio import coroutines
from collections.abc import Coroutine
from typing import Any

from headrace.loop.event_loop import EventLoop
from headrace.streams.protocol_core import ProtocolCore
from headrace.streams.reading import NativeReader
from headrace.streams.writer_core import WriterCore

# Until Python 3.12 a server's protocol keeps its writer, so that a plain callback need not.
KEEPS_WRITER = sys.version_info < (3, 13)


class StreamReader(NativeReader, asyncio.StreamReader):
    """asyncio.StreamReader, whose methods are done at once where the data are there."""

    __slots__ = ()


class StreamWriter(WriterCore, asyncio.StreamWriter):
    """asyncio.StreamWriter, whose drain() is done at once where there is room."""

    __slots__ = ()


class StreamReaderProtocol(ProtocolCore, asyncio.StreamReaderProtocol):
    """asyncio.StreamReaderProtocol, which takes what was received without an object for it."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        callback = self._client_connected_cb
        if callback is None or self._reject_connection:
            super().connection_made(transport)
            return
        self._transport = transport
        reader = self._stream_reader
        if reader is not None:
            reader.set_transport(transport)
        self._over_ssl = transport.get_extra_info("sslcontext") is not None
        writer = StreamWriter(transport, self, reader, self._loop)
        if KEEPS_WRITER:
            self._stream_writer = writer
        result = callback(reader, writer)
        if coroutines.iscoroutine(result):
            self._accepted = transport
            self._task = self._start(result)
        self._strong_reader = None

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        # One copy of the context for the task and for its end: an idle connection keeps both.
        context = contextvars.copy_context()
        loop = self._loop
        if isinstance(loop, EventLoop) and loop.get_task_factory() is None:
            task = loop.create_task(coroutine, context=context)
        else:
            task = loop.create_task(coroutine)  # whose factory may know of no context
        task.add_done_callback(self._callback_is_done, context=context)
        return task

    def _callback_is_done(self, task: asyncio.Task[Any]) -> None:
        transport, self._accepted = self._accepted, None
        if task.cancelled():
            transport.close()
            return
        error = task.exception()
        if error is not None:
            self._loop.call_exception_handler(
                {
                    "message": "Unhandled exception in client_connected_cb",
                    "exception": error,
                    "transport": transport,
                }
            )
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        reader = self._stream_reader
        if reader is not None:
            if exc is None:
                reader.feed_eof()
            else:
                reader.set_exception(exc)
        self._connection_is_over(exc)
        asyncio.streams.FlowControlMixin.connection_lost(self, exc)
        self._stream_reader_wr = None
        self._stream_writer = None
        self._task = None
        self._transport = None
