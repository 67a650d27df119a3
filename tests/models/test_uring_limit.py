"""Rings count against RLIMIT_MEMLOCK, for all processes of a user together: at its end."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.models import registry

pytestmark = pytest.mark.skipif(
    registry.unavailable_reason("uring") is not None, reason="no io_uring here"
)

LIMIT = Path(__file__).parents[1] / "limit_locked_memory.py"
# A ring takes some 90 KiB: one fits, or a few.
ONE_RING_BYTES = 128 * 1024
FEW_RINGS_BYTES = 512 * 1024
# More than fit into either.
LOOPS = 20
TIMEOUT_S = 60

COUNTS = f"""\
from headrace.models.uring import Uring
rings = [Uring() for _ in range({LOOPS})]
for ring in rings:
    ring.open()
"""
HOLD_THEM_ALL = f"""\
import asyncio, headrace
loops = [headrace.new_event_loop() for _ in range({LOOPS})]
for loop in loops:
    assert loop.run_until_complete(asyncio.sleep(0, 7)) == 7
print(*[loop.model for loop in loops])
for loop in loops: loop.close()
"""
NAME_THEM_ALL = f"""\
import headrace
loops = []
try:
    while len(loops) < {LOOPS}: loops.append(headrace.new_event_loop())
except headrace.ModelUnavailableError as error:
    print(len(loops) > 0, error)
for loop in loops: loop.close()
"""
ONE_BY_ONE = f"""\
import asyncio, headrace
for _ in range({LOOPS}):
    loop = headrace.new_event_loop()
    assert loop.run_until_complete(asyncio.sleep(0, 7)) == 7
    print(loop.model)
    loop.close()
"""
FROM_THREAD_TO_THREAD = """\
import asyncio, headrace, threading
def run(): print(loop.run_until_complete(asyncio.sleep(0, loop.model)))
loop = headrace.new_event_loop("uring")
for _ in range(5):
    run()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
loop.close()
"""
REFUSED_IN_A_THREAD = """\
import asyncio, headrace, resource, socket, threading
soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
near, far = socket.socketpair()
near.setblocking(False)
loop = headrace.new_event_loop("uring")
receiving = loop.create_task(loop.sock_recv(near, 10))
loop.run_until_complete(asyncio.sleep(0))
def run():
    try: print(loop.run_until_complete(receiving))
    except OSError as error: print(error.strerror)
for limit in (0, soft):
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, hard))
    far.send(b"data")
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
loop.close()
"""


def limited(size_bytes: int, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "HEADRACE_MODEL"}
    return subprocess.run(
        [sys.executable, str(LIMIT), str(size_bytes), sys.executable, *words],
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.fixture(autouse=True, scope="module")
def _alone() -> Iterator[None]:
    """Another run of these tests, on another Python perhaps, spends the same user's limit."""
    with LIMIT.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(autouse=True, scope="module")
def _rings_count(_alone: None) -> None:
    done = limited(FEW_RINGS_BYTES, "-c", COUNTS)
    if "CAP_IPC_LOCK cannot be given up" in done.stderr:
        pytest.skip("CAP_IPC_LOCK cannot be given up here")
    if done.returncode == 0:
        pytest.skip("this kernel does not count rings against RLIMIT_MEMLOCK")
    assert "Cannot allocate memory" in done.stderr


def test_loops_beyond_the_limit_of_rings_run_on_epoll():
    done = limited(FEW_RINGS_BYTES, "-c", HOLD_THEM_ALL)
    assert done.stderr == ""
    models = done.stdout.split()
    rings = models.count("uring")
    assert 0 < rings < LOOPS
    assert models == ["uring"] * rings + ["epoll"] * (LOOPS - rings)


def test_loop_beyond_the_limit_of_rings_that_names_uring_says_why_there_is_none():
    done = limited(FEW_RINGS_BYTES, "-c", NAME_THEM_ALL, HEADRACE_MODEL="uring")
    assert done.stderr == ""
    assert done.stdout == (
        "True io_uring: io_uring_setup: Cannot allocate memory (RLIMIT_MEMLOCK?)\n"
    )


def test_loops_one_after_the_other_wait_for_the_old_ring_to_be_gone():
    done = limited(ONE_RING_BYTES, "-c", ONE_BY_ONE, HEADRACE_MODEL="uring")
    assert (done.stderr, done.stdout.split()) == ("", ["uring"] * LOOPS)


def test_loop_that_changes_threads_waits_for_its_old_ring_to_be_gone():
    done = limited(ONE_RING_BYTES, "-c", FROM_THREAD_TO_THREAD)
    assert (done.stderr, done.stdout.split()) == ("", ["uring"] * 10)


def test_loop_that_gets_no_ring_in_another_thread_says_why_and_may_run_there_later():
    done = limited(ONE_RING_BYTES, "-c", REFUSED_IN_A_THREAD)
    assert done.stderr == ""
    assert done.stdout == (
        "io_uring: io_uring_setup: Cannot allocate memory (RLIMIT_MEMLOCK?)\nb'datadata'\n"
    )


@pytest.mark.parametrize("words", [["--model", "uring"], []], ids=["named", "default"])
def test_run_has_a_ring_where_one_fits(words):
    program = "import asyncio; print(asyncio.new_event_loop().model)"
    done = limited(ONE_RING_BYTES, "-m", "headrace", "run", *words, "-c", program)
    assert (done.stderr, done.stdout) == ("", "uring\n")


def test_run_without_room_for_a_ring_says_so_in_one_line():
    done = limited(4096, "-m", "headrace", "run", "--model", "uring", "-c", "pass")
    assert done.returncode == 2
    assert done.stderr == (
        "headrace: io_uring: io_uring_setup: Cannot allocate memory (RLIMIT_MEMLOCK?)\n"
    )
