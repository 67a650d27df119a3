"""What strace writes is read to the nanosecond, and where it cannot be used it is said why."""

import os
import time

import pytest

from headrace.trace import strace
from headrace.trace.strace import Call, parse, read_calls, refusal

OFFSET_NS = 1_700_000_000 * 10**9


def parsed(*lines):
    return list(parse(lines, 5, OFFSET_NS))


def test_strace_call_is_read_with_its_result_and_its_duration():
    line = '1700000001.000000007 recvfrom(9, ""..., 64, 0, NULL, NULL) = 33 <0.000000012>'
    assert parsed(line) == [
        Call(5, "recvfrom", '9, ""..., 64, 0, NULL, NULL', 33, "", 10**9 + 7, 10**9 + 19)
    ]
    assert parsed(line)[0].fd == 9


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("recvfrom(9, 0x7f00, 64, MSG_DONTWAIT, NULL, NULL) = -1 EAGAIN (Resource temporarily"
         " unavailable) <0.000000001>", ("recvfrom", -1, "EAGAIN")),
        ("pselect6(7, [3], [], NULL, NULL, {sigsetsize=8}) = 1 (in [3]) <0.000000001>",
         ("pselect6", 1, "")),
        ("sched_yield()                     = 0 <0.000000001>", ("sched_yield", 0, "")),
        ("brk(NULL)                         = 0x5592 <0.000000001>", ("brk", 0x5592, "")),
        ("futex(0x55, FUTEX_WAIT, 0, NULL) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)"
         " <0.000000001>", ("futex", -1, "ERESTARTSYS")),
        ('write(1, ") = 7 <0.1>"..., 9) = 9 <0.000000001>', ("write", 9, "")),
    ],
)  # fmt: skip
def test_strace_results_of_all_forms_are_read(line, expected):
    (found,) = parsed(f"1700000001.000000000 {line}")
    assert (found.name, found.result, found.error) == expected


def test_strace_signal_takes_no_time():
    (found,) = parsed("1700000001.5 --- SIGRT_1 {si_signo=SIGRT_1, si_code=SI_ASYNCIO} ---")
    assert (found.name, found.start, found.end) == ("SIGRT_1", 1_500_000_000, 1_500_000_000)


def test_strace_lines_that_tell_of_no_ended_call_are_left_out():
    assert parsed(
        "1700000001.0 recvfrom(9,  <unfinished ...>) = ?",
        "1700000001.0 exit_group(0) = ?",
        "1700000001.0 +++ exited with 0 +++",
        "",
    ) == []  # fmt: skip


def test_strace_calls_of_all_threads_are_in_one_order(tmp_path):
    for thread, at in ((12, 3), (11, 2), (12, 1)):
        with open(tmp_path / f"calls.{thread}", "a") as file:
            file.write(f"170000000{at}.0 sched_yield() = 0 <0.000000001>\n")
    found = read_calls(str(tmp_path / "calls"), OFFSET_NS)
    assert [call.thread for call in found] == [12, 11, 12]


def test_strace_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refusal() == "strace is not installed"


@pytest.mark.parametrize("scope", ["3\n", None])
def test_strace_that_is_denied_says_why(monkeypatch, tmp_path, scope):
    program = tmp_path / "strace"
    program.write_text(
        "#!/bin/sh\n"
        'echo "$0: test_ptrace_get_syscall_info: PTRACE_TRACEME: Operation not permitted" >&2\n'
        "exit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(strace, "YAMA", tmp_path / "ptrace_scope")
    if scope is not None:
        (tmp_path / "ptrace_scope").write_text(scope)
    assert refusal() == (
        "strace is not permitted: PTRACE_TRACEME: Operation not permitted"
        + (" (kernel.yama.ptrace_scope is 3)" if scope else "")
    )


def test_strace_clock_is_converted():
    before = time.time_ns()
    moment = time.monotonic_ns() + strace.realtime_offset_ns()
    # Far less than any clock is set by, and far more than the call takes.
    assert abs(moment - before) < 10**9
