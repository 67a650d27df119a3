"""Ends a service and its workers when the comparison that started them is gone.

The kernel can end a child with its parent (PR_SET_PDEATHSIG), but a child only: the workers of a
service that was killed so live on, and hold its port.  The comparison cannot end them either, if it
was killed outright.  So a process of its own waits for that: it reads a pipe which only the
comparison can write to, and whose end comes with the comparison's.  Then it kills the service's
whole session.  What has made a session of its own by then, a daemon, is beyond its reach.

It runs by its path in a bare interpreter, without the packages: it is there long before the service
answers, and costs the measured stretch nothing, since it sleeps in read().
"""

import os
import signal
import subprocess
import sys
import time

PASSES_MAX = 1000
PASS_S = 0.01


class Guard:
    """A watch over one session, from before it is begun."""

    def __init__(self) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what ends our process group must not end it first
        )

    def watch_own_session(self) -> None:
        """Runs in the child that leads the session, before its program: no instant is unwatched."""
        assert self.popen.stdin is not None
        os.write(self.popen.stdin.fileno(), b"%d\n" % os.getsid(0))

    def end(self) -> None:
        """The session has been ended in an orderly way: there is nothing to watch any more."""
        self.popen.kill()
        self.popen.communicate()


def kill_session(session: int) -> None:
    """Kills until nobody is left: who forks may be faster than one look at all processes."""
    for _ in range(PASSES_MAX):
        members = [pid for pid in processes() if is_member(pid, session)]
        if not members:
            return
        for pid in members:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue  # it has ended, or is another user's
        time.sleep(PASS_S)


def processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def is_member(pid: int, session: int) -> bool:
    """Whether it lives and is of that session."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # Its name stands in brackets and may have any byte: state, parent, group, session.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return False
    return int(fields[3]) == session and fields[0] not in (b"Z", b"X")


def main() -> None:
    session = sys.stdin.buffer.readline()
    if session.endswith(b"\n"):
        sys.stdin.buffer.read()
        kill_session(int(session))


if __name__ == "__main__":
    main()
