"""The kernel's trace point counts another program's system calls exactly."""

import subprocess
import sys

import pytest

from headrace.lab.syscalls import NotCountableError, SystemCallCounter, read_trace_point

CALLS = 1000
PROGRAM = f"""\
import os, sys
print("ready", flush=True)
sys.stdin.readline()
for _ in range({CALLS}): os.getppid()
print("done", flush=True)
sys.stdin.readline()
"""


def test_counter_counts_the_system_calls_of_a_program(started):
    try:
        trace_point = read_trace_point()
    except NotCountableError as error:
        pytest.skip(str(error))
    with started(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        try:
            counter = SystemCallCounter(trace_point, [process.pid])
        except NotCountableError as error:
            pytest.skip(str(error))
        process.stdin.write(b"go\n")
        process.stdin.flush()
        process.stdout.readline()
        counted = counter.read()
        counter.close()
        process.stdin.close()
        process.wait()
    assert CALLS <= counted <= CALLS + 20


def test_counter_says_why_it_cannot_count():
    with pytest.raises(NotCountableError, match="perf_event_open"):
        SystemCallCounter(2**40, [1])
