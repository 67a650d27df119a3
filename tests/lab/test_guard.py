"""What a guard watches ends with the process that asked for it, and with nothing else."""

import os
import signal
import subprocess
import sys

from comparing import wait_until

from headrace.lab.guard import Guard, is_member

# A session of three, the last of which has a process group of its own; the pids are written down.
SESSION = """\
import os, sys, time
if os.fork() == 0 and os.fork() == 0:
    os.setpgid(0, 0)
os.write(1, b"%d\\n" % os.getpid())
time.sleep(1000)
"""
# One that watches such a session, and waits.
OWNER = f"""\
import subprocess, sys
from headrace.lab.guard import Guard
guard = Guard()
subprocess.Popen([sys.executable, "-c", {SESSION!r}], start_new_session=True,
                 preexec_fn=guard.watch_own_session)
sys.stdin.read()
"""


def session_of(process: subprocess.Popen) -> tuple[list[int], int]:
    pids = [int(process.stdout.readline()) for _ in range(3)]
    return pids, os.getsid(pids[0])


def test_guard_kills_the_session_when_its_owner_is_killed(started):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with started([sys.executable, "-c", OWNER], **pipes) as owner:
        pids, session = session_of(owner)
        assert {is_member(pid, session) for pid in pids} == {True}
        owner.kill()
        owner.wait()
        wait_until(lambda: not any(is_member(pid, session) for pid in pids))


def test_guard_that_is_ended_leaves_the_session_alone(started):
    guard = Guard()
    with started(
        [sys.executable, "-c", SESSION], stdout=subprocess.PIPE, start_new_session=True,
        preexec_fn=guard.watch_own_session,
    ) as leader:  # fmt: skip
        pids, session = session_of(leader)
        guard.end()
        assert guard.popen.returncode == -signal.SIGKILL
        try:
            assert {is_member(pid, session) for pid in pids} == {True}
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)


def test_guard_of_a_session_that_never_began_ends_with_its_owner():
    guard = Guard()
    guard.popen.stdin.close()
    assert guard.popen.wait(30) == 0
