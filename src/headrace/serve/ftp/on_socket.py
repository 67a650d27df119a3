"""A transfer over a plain socket, in turns: when the loop says so, or the rate.

What is asked for here, in which order, is the same for both directions; they say what a step is.
"""

from __future__ import annotations

import time

from headrace.serve.ftp.transfer import Transfer

__all__ = ["OnSocket"]


class OnSocket(Transfer):
    """What `Sending` and `SocketReceiving` have in common."""

    __slots__ = ()

    def step(self) -> int:
        """Send or receive once; answer how many bytes.

        Raises:
            BlockingIOError: the socket is to be watched first.
            OSError: the connection's error, or the file's.
        """
        raise NotImplementedError

    def watch(self, fd: int) -> None:
        """Have the loop call turn() when the socket is ready."""
        raise NotImplementedError

    def forget(self, fd: int) -> None:
        """The opposite of watch()."""
        raise NotImplementedError

    def turn(self) -> None:
        """Do what can be done now, and see to it that the rest will be."""
        self.timer = None
        try:
            count = self.step()
        except BlockingIOError:
            self.wait_ready()
        except OSError as error:
            self.fail_with(error)
        except Exception as error:  # else the loop would call again, and a piece would be missing
            self.fail_with_mistake(error)
        else:
            if self.goes_on():
                self.wait_pace(count)

    def wait_ready(self) -> None:
        if not self.watched and self.sock is not None:
            self.watched = True
            self.watch(self.sock.fileno())

    def wait_pace(self, count: int) -> None:
        pause_s = self.pace.spend(count, time.monotonic()) if self.pace is not None else 0.0
        if pause_s <= 0:
            self.wait_ready()
            return
        self.unwatch()
        self.timer = self.session.worker.loop.call_later(pause_s, self.turn)

    def unwatch(self) -> None:
        super().unwatch()
        if self.watched and self.sock is not None:
            self.watched = False
            self.forget(self.sock.fileno())
