"""The upper-case server on an event loop that fits on a page: what asyncio is, without the rest.

Model 3 of Stevens' five, I/O multiplexing. The thread waits in select() for all sockets and for
the next timer; the recv() after it does not wait, but is blocked while the kernel copies. The loop
knows events, each with its callback, and timers, each with its future. A coroutine that awaits a
future stands still, and so do all those that await it in turn. When the future is done, its task
resumes the outermost of them, and each `await` hands on to the next one, down to the innermost.

    python examples/raw/tiny_event_loop.py [PORT]
"""

import collections
import contextlib
import heapq
import itertools
import selectors
import socket
import sys
import time
import traceback


class Future:
    """A result that is not there yet."""

    def __init__(self, loop):
        self.loop, self.is_done, self.value, self.error = loop, False, None, None
        self.callbacks = []

    def set(self, value=None, error=None):
        self.is_done, self.value, self.error = True, value, error
        if error and not self.callbacks:  # nobody will ever hear of it
            traceback.print_exception(error)
        self.loop.ready.extend(self.callbacks)

    def __await__(self):
        if not self.is_done:
            yield self  # through all coroutines that await one another, out to the task
        if self.error:
            raise self.error
        return self.value


class Task(Future):
    """Runs a coroutine whenever the future is done that it stands still at."""

    def __init__(self, loop, coroutine):
        super().__init__(loop)
        self.coroutine = coroutine
        loop.ready.append(self.step)

    def step(self):
        try:
            future = self.coroutine.send(None)  # always the outermost one
        except StopIteration as end:
            self.set(end.value)
        except Exception as error:
            self.set(error=error)
        else:
            future.callbacks.append(self.step)


class Loop:
    """Turns events and timers into callbacks, and runs them one after the other."""

    def __init__(self):
        self.ready = collections.deque()  # callbacks for the next turn
        self.timers, self.numbers = [], itertools.count()
        self.selector = selectors.DefaultSelector()

    def run(self, coroutine):
        """Runs the coroutine and whatever it has started, until it ends; answers its result."""
        task = Task(self, coroutine)
        task.callbacks.append(lambda: None)
        while not task.is_done:
            self.turn()
        if task.error:
            raise task.error
        return task.value

    def turn(self):
        timeout = max(0, self.timers[0][0] - time.monotonic()) if self.timers else None
        for key, _ in self.selector.select(0 if self.ready else timeout):  # waits
            self.selector.unregister(key.fileobj)
            self.ready.append(key.data)
        while self.timers and self.timers[0][0] <= time.monotonic():
            self.ready.append(heapq.heappop(self.timers)[2])
        for _ in range(len(self.ready)):  # what they make ready is for the next turn
            self.ready.popleft()()

    def sleep(self, seconds):
        """A future that is done when the time has come; the number keeps the order of equals."""
        future = Future(self)
        entry = (time.monotonic() + seconds, next(self.numbers), future.set)
        heapq.heappush(self.timers, entry)
        return future

    async def call_when(self, event, sock, function, *arguments):
        """Waits for the event, then calls the function; answers what that does."""
        while True:
            future = Future(self)
            self.selector.register(sock, event, future.set)
            await future
            with contextlib.suppress(BlockingIOError):  # ready a moment ago
                return function(*arguments)


async def send_all(loop, connection, data):
    while data:
        count = await loop.call_when(selectors.EVENT_WRITE, connection, connection.send, data)
        data = data[count:]


async def serve(loop, connection):
    with connection, contextlib.suppress(OSError):
        connection.setblocking(False)
        receive = connection.recv, 65536
        while data := await loop.call_when(selectors.EVENT_READ, connection, *receive):
            await send_all(loop, connection, data.upper())


async def accept(loop, listener):
    while True:
        try:
            connection, _ = await loop.call_when(selectors.EVENT_READ, listener, listener.accept)
            Task(loop, serve(loop, connection))
        except OSError:  # no descriptor is free (EMFILE)
            await loop.sleep(0.05)


def main(listener):
    listener.setblocking(False)
    loop = Loop()
    loop.run(accept(loop, listener))


if __name__ == "__main__":
    try:
        port = int(" ".join(sys.argv[1:]) or 0)  # 0: the kernel chooses one
        listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    except (OSError, OverflowError, ValueError) as error:
        sys.exit(f"{error}; usage: python {sys.argv[0]} [PORT]")
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # its connections inherit it
    print("listening on {}:{}".format(*listener.getsockname()), flush=True)
    with contextlib.suppress(KeyboardInterrupt), listener:
        main(listener)
