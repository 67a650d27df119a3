"""Random sequences of what a reader can be asked: ours must answer as asyncio's does."""

from __future__ import annotations

import asyncio
import os
import random
import sys

import pytest

import headrace

SEQUENCES = int(os.environ.get("HEADRACE_SEQUENCES", "250"))
STEPS = 40
PIECES = (b"\n", b"a", b"ab\n", b"x" * 10, b"one\ntwo\nthr", b"\r\n", b"-" * 30, b"ee\n" * 7)
SEPARATORS = (b"\n", b"\r\n", b"ab", b"--", b"e\ne", bytearray(b"two"), b"")
TURNS_TO_SETTLE = 4


class FakeTransport(asyncio.Transport):
    def __init__(self, log, can_pause):
        super().__init__()
        self.log = log
        self.can_pause = can_pause

    def __repr__(self):
        return "<FakeTransport>"

    def pause_reading(self):
        self.log.append("pause")
        if not self.can_pause:
            raise NotImplementedError

    def resume_reading(self):
        self.log.append("resume")


class Play:
    """One sequence on one reader; what it said is in `log`."""

    def __init__(self, reader_class, seed):
        self.choices = random.Random(seed)
        self.log = []
        self.reader = reader_class(limit=self.choices.choice((1, 8, 20, 65536)))
        if self.choices.random() < 0.8:
            self.reader.set_transport(FakeTransport(self.log, self.choices.random() < 0.9))
        self.tasks = []
        self.is_ended = False
        self.is_settled = True

    async def play(self):
        for _ in range(STEPS):
            step = self.choices.choice(
                ("feed",) * 6 + ("read",) * 6 + ("cancel", "look", "second", "end", "limit")
            )
            self.log.append(step)
            getattr(self, f"do_{step}")()
            self.is_settled = False
            if self.choices.random() < 0.7 or step == "second":
                await self.settle()
        await self.settle()
        for task in self.tasks:
            task.cancel()
        await self.settle()
        self.log.append(bytes(self.reader._buffer))
        return self.log

    async def settle(self):
        for _ in range(TURNS_TO_SETTLE):
            await asyncio.sleep(0)
        self.is_settled = True
        self.log.append((self.reader.at_eof(), self.reader._paused, self.reader.exception()))

    def do_feed(self):
        data = b"".join(self.choices.choices(PIECES, k=self.choices.randint(0, 3)))
        if self.choices.random() < 0.2:
            data = bytearray(data)
        try:
            self.reader.feed_data(data)
        except AssertionError as error:
            self.log.append(str(error))

    def do_read(self):
        if any(not task.done() for task in self.tasks):
            return  # do_second() is for that
        self.begin_read()

    def do_second(self):
        # Not while a first one has been woken and has not come up, and nothing comes before the
        # second has: asyncio's first one would forget the waiter of the second, for ever.
        if self.is_settled and self.reader._waiter is not None:
            self.begin_read()

    def begin_read(self):
        reader, count = self.reader, self.choices.choice((-1, 0, 1, 3, 10, 40))
        separator = self.choices.choice(SEPARATORS)
        if sys.version_info >= (3, 13) and self.choices.random() < 0.3:
            separator = tuple(self.choices.sample(SEPARATORS[:-1], self.choices.randint(0, 3)))
        name = self.choices.choice(("read", "readexactly", "readline", "readuntil", "__anext__"))
        arguments = {"read": (count,), "readexactly": (count,), "readuntil": (separator,)}
        self.log.append((name, arguments.get(name)))
        self.tasks.append(asyncio.ensure_future(self.note(name, arguments.get(name, ()))))
        assert reader is self.reader

    async def note(self, name, arguments):
        try:
            self.log.append(await getattr(self.reader, name)(*arguments))
        except (Exception, asyncio.CancelledError) as error:
            partial, wanted = getattr(error, "partial", None), getattr(error, "consumed", None)
            self.log.append((type(error), str(error), partial, wanted))

    def do_cancel(self):
        for task in self.tasks:
            task.cancel()

    def do_look(self):
        self.log.append((bytes(self.reader._buffer), repr(self.reader).partition("waiter")[0]))

    def do_limit(self):
        self.reader._limit = self.choices.choice((2, 30))

    def do_end(self):
        if self.is_ended or self.choices.random() < 0.6:
            return
        self.is_ended = True
        if self.choices.random() < 0.5:
            self.reader.feed_eof()
        else:
            error = ConnectionResetError("the peer is gone")
            self.reader.set_exception(error)


def transcript(reader_class, seed):
    async def main():
        return await Play(reader_class, seed).play()

    return [repr(each) for each in asyncio.run(main())]


@pytest.mark.parametrize("first", range(0, SEQUENCES, 25))
def test_reader_answers_as_asyncios_does(first):
    for seed in range(first, first + 25):
        expected = transcript(asyncio.StreamReader, seed)
        assert transcript(headrace.StreamReader, seed) == expected, f"seed {seed}"
