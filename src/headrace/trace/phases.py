"""The two phases of a request, and its recording looked at for it alone.

Phase 1 lasts until the data are at the socket, phase 2 from then until the application is told: its
data_received() is called with them.  That they are there is known from two sides: the client's
send() has returned, or a call that waited for them has.  The earlier of the two counts.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from headrace.trace.client import Request
from headrace.trace.record import Recording
from headrace.trace.strace import Call

RECEIVING = frozenset(
    ["recvfrom", "recvmsg", "recvmmsg", "read", "readv", "pread64", "preadv", "preadv2"]
)
WAITING = frozenset(
    [
        "accept",
        "accept4",
        "clock_nanosleep",
        "connect",
        "epoll_pwait",
        "epoll_pwait2",
        "epoll_wait",
        "futex",
        "io_uring_enter",
        "nanosleep",
        "pause",
        "poll",
        "ppoll",
        "pselect6",
        "rt_sigsuspend",
        "rt_sigtimedwait",
        "select",
    ]
)
# How many are ready; 0 where the time is over.
COUNTING = frozenset(
    ["epoll_pwait", "epoll_pwait2", "epoll_wait", "poll", "ppoll", "pselect6", "select"]
)
NAPS = frozenset(["clock_nanosleep", "nanosleep", "pause"])
NOT_NOW = "EAGAIN"


@dataclass(frozen=True)
class Phases:
    """The two phases of one request, in nanoseconds of the recording's clock."""

    begin: int
    there: int
    told: int
    """data_received() is called with the last of the data."""

    @property
    def waiting_us(self) -> float:
        return (self.there - self.begin) / 1e3

    @property
    def copying_us(self) -> float:
        return (self.told - self.there) / 1e3


def phases_of(recording: Recording, request: Request) -> Phases:
    told = [start for start, _, _ in told_of(recording, request)]
    last = told[-1] if told else request.answered
    there = min([request.send_end, *learned(recording, request), last])
    return Phases(request.begin, max(there, request.send_start), last)


def told_of(recording: Recording, request: Request) -> list[tuple[int, int, int]]:
    return [one for one in recording.told if request.send_start <= one[0] < request.answered]


def learned(recording: Recording, request: Request) -> list[int]:
    """When calls that had begun to wait before the data came ended with success."""
    if recording.calls is None:
        ends = [end for start, end, _ in recording.waited if start < request.send_start < end]
    else:
        ends = [
            call.end
            for call in recording.calls
            if call.start < request.send_start < call.end and is_news(call)
        ]
    return [end for end in ends if end < request.answered]


def is_news(call: Call) -> bool:
    """Did it come back because something was there?  A time that is over is a result as well."""
    if call.name in COUNTING:
        return call.result > 0
    return call.result >= 0 and call.name in (WAITING | RECEIVING) - NAPS


def middle_request(recording: Recording) -> Request:
    """The one whose phase 2 is the middle one: neither the luckiest nor a disturbed one."""
    ordered = sorted(recording.requests, key=lambda one: phases_of(recording, one).copying_us)
    return ordered[len(ordered) // 2]


def medians_us(recording: Recording) -> tuple[float, float]:
    """Both phases, each the median of all requests."""
    found = [phases_of(recording, request) for request in recording.requests]
    return (
        statistics.median(one.waiting_us for one in found),
        statistics.median(one.copying_us for one in found),
    )


@dataclass(frozen=True)
class View:
    """A recording, looked at for one request."""

    recording: Recording
    request: Request
    phases: Phases

    def us(self, at_ns: int) -> float:
        """On the timeline's scale; what lies outside is moved to its edge."""
        inside = min(max(at_ns, self.request.begin), self.request.answered)
        return (inside - self.request.begin) / 1e3

    def is_inside(self, start: int, end: int) -> bool:
        return start < self.request.answered and end > self.request.begin

    def calls(self) -> list[Call]:
        return [call for call in self.recording.calls or [] if self.is_inside(call.start, call.end)]

    def taking(self) -> list[Call]:
        """The calls that have taken the request's data from its socket."""
        return [
            call
            for call in self.calls()
            if call.name in RECEIVING
            and call.result > 0
            and self.recording.is_of_connection(call)
            and self.request.send_start < call.end
            and call.start < self.phases.told
            and call.end <= self.request.answered
        ]

    def thread_name(self, thread: int) -> str:
        if thread == self.recording.loop_thread:
            return "the loop's thread"
        return f"thread {self.others().index(thread) + 2}"

    def others(self) -> list[int]:
        """The threads beside the loop's that took part: a call of theirs begins or ends."""
        found: list[int] = []
        for call in self.calls():
            takes_part = call.start > self.request.begin or call.end < self.request.answered
            if takes_part and call.thread not in (*found, self.recording.loop_thread):
                found.append(call.thread)
        return found


def waiting_calls(view: View) -> list[Call]:
    """The calls in which threads were when the data came."""
    return [
        call
        for call in view.calls()
        if call.name in WAITING | RECEIVING
        and call.error != NOT_NOW
        and call.start < view.request.send_start
        and call.end >= view.phases.there
    ]
