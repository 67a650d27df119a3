"""A recording as a timeline: lanes with what each did, the two phases, who waits and who copies."""

from __future__ import annotations

from dataclasses import dataclass, field

from headrace.trace.phases import (
    NOT_NOW,
    RECEIVING,
    WAITING,
    View,
    middle_request,
    phases_of,
    waiting_calls,
)
from headrace.trace.record import Recording
from headrace.trace.strace import Call
from headrace.trace.who import who_copies, who_waits

ROUNDS_OF_ASKING = 20
WAITS, TRIES, ARRIVES, COPIES, UNSEEN = "waits", "tries", "arrives", "copies", "unseen"
RUNS, CALLS, ASKS = "runs", "calls", "asks"
# Of what is drawn; that the loop asks its model takes no time, and has its place in the list.
KINDS = {
    WAITS: "waits, blocked",
    TRIES: "asks in vain (EAGAIN)",
    ARRIVES: "the data arrive",
    COPIES: "copies them to the user",
    UNSEEN: "copied somewhere in here",
    RUNS: "the application's code",
    CALLS: "another system call",
}
# Of these EAGAIN says that there is nothing; of others, such as futex(2), something else.
TRYING = RECEIVING | {"accept", "accept4"}


@dataclass(frozen=True)
class Span:
    """What a lane did from ``start`` to ``end``, in microseconds from the beginning."""

    start: float
    end: float
    kind: str
    name: str
    detail: str = ""


@dataclass(frozen=True)
class Lane:
    """One who took part."""

    name: str
    spans: list[Span] = field(default_factory=list)


@dataclass(frozen=True)
class Timeline:
    """One request; all times in microseconds from its beginning."""

    lanes: list[Lane]
    sent: float
    """The client begins to send."""
    there: float
    told: float
    end: float
    waits: str
    """Who waits in phase 1, in words; ``copies``: who copies in phase 2."""
    copies: str
    is_seen: bool
    """strace has seen the threads' calls; else who waits and copies is what the model declares."""
    asked_before: float | None
    """So long before the beginning the model was given the receive that brings the data."""


def build(recording: Recording, declared_waits: str, declared_copies: str) -> Timeline:
    """The timeline of the middle request."""
    request = middle_request(recording)
    phases = phases_of(recording, request)
    view = View(recording, request, phases)
    lanes = [client_lane(view), kernel_lane(view), *thread_lanes(view)]
    if recording.calls is None:
        waits, copies = declared_waits, declared_copies
        lanes.append(declared_lane(view, copies))
    else:
        waits, copies = who_waits(view), who_copies(view)
    return Timeline(
        lanes,
        view.us(request.send_start),
        view.us(phases.there),
        view.us(phases.told),
        view.us(request.answered),
        waits,
        copies,
        recording.calls is not None,
        asked_before_us(view),
    )


def span_in(view: View, start: int, end: int, kind: str, name: str, detail: str = "") -> Span:
    return Span(view.us(start), view.us(end), kind, name, detail)


def asked_before_us(view: View) -> float | None:
    """None where the receive is asked for anew for each piece."""
    asked = [
        at
        for at, operation, fd in view.recording.asked
        if operation.startswith("receive") and fd == view.recording.fd and at < view.phases.told
    ]
    before = (view.request.begin - asked[-1]) / 1e3 if asked else 0
    return before if before > 0 else None


def client_lane(view: View) -> Lane:
    request = view.request
    return Lane(
        "the client",
        [
            span_in(view, request.send_start, request.send_end, CALLS, "send"),
            span_in(view, request.send_end, request.first_answer, WAITS, "recv"),
            span_in(view, request.first_answer, request.answered, CALLS, "recv"),
        ],
    )


def kernel_lane(view: View) -> Lane:
    spans = [span_in(view, view.request.send_start, view.phases.there, ARRIVES, "data arrive")]
    if view.recording.calls is not None and not view.taking():
        # It happened between these two; when exactly, nobody here has seen.
        ends = [end for end in waking(view) if end > view.phases.there]
        end = min([view.phases.told, *ends])
        spans.append(span_in(view, view.phases.there, end, UNSEEN, "copied"))
    return Lane("the kernel", spans)


def declared_lane(view: View, copies: str) -> Lane:
    """Without strace: who the model says copies, between what is known of the time."""
    return Lane("copied by", [span_in(view, view.phases.there, view.phases.told, UNSEEN, copies)])


def waking(view: View) -> list[int]:
    """When the loop's thread comes back from waiting, in phase 2."""
    if view.recording.calls is None:
        return []
    return [
        call.end
        for call in waiting_calls(view)
        if call.thread == view.recording.loop_thread and call.end < view.phases.told
    ]


def thread_lanes(view: View) -> list[Lane]:
    recording = view.recording
    lane = Lane("the loop's thread")
    for at, operation, _ in recording.asked:
        if view.is_inside(at, at):
            lane.spans.append(span_in(view, at, at, ASKS, f"submit {operation}"))
    for start, end, _ in recording.told:
        if view.is_inside(start, end):
            lane.spans.append(span_in(view, start, end, RUNS, "data_received"))
    if recording.calls is None:
        for start, end, rounds in recording.waited:
            if view.is_inside(start, end):
                detail = f"{rounds:,} rounds" if rounds > 2 else ""
                # One that comes back that often with nothing does not wait: it asks.
                kind = WAITS if rounds < ROUNDS_OF_ASKING else TRIES
                lane.spans.append(span_in(view, start, end, kind, "the model's wait()", detail))
        return [lane]
    lanes = {recording.loop_thread: lane}
    for thread in view.others():
        lanes[thread] = Lane(view.thread_name(thread))
    for call in view.calls():
        if call.thread in lanes:
            lanes[call.thread].spans.extend(spans_of(view, call))
    return list(lanes.values())


def spans_of(view: View, call: Call) -> list[Span]:
    """One span; two for a call that both waits for the data and copies them."""
    outcome = call.error or f"{call.result:,}"
    detail = outcome if call.end > call.start else "signal"
    there = view.phases.there
    # One that lasts to the end of the picture waits for another request already.
    is_within = call.end <= view.request.answered
    is_taking = call.name in RECEIVING and call.result > 0 and view.recording.is_of_connection(call)
    if is_taking and is_within:
        if call.start >= there or call.end <= view.request.send_start:
            return [span_in(view, call.start, call.end, COPIES, call.name, detail)]
        return [
            span_in(view, call.start, there, WAITS, call.name),
            span_in(view, there, call.end, COPIES, call.name, detail),
        ]
    kind = kind_of(call, there, is_within=is_within)
    return [span_in(view, call.start, call.end, kind, call.name, detail)]


def kind_of(call: Call, there: int, *, is_within: bool) -> str:
    if call.name in TRYING and call.error == NOT_NOW:
        return TRIES
    if call.name in RECEIVING and not is_within:
        return WAITS
    return WAITS if is_waiting(call, there) else CALLS


def is_waiting(call: Call, there: int) -> bool:
    if call.start < there <= call.end and call.name in WAITING | RECEIVING:
        return True
    if call.name == "io_uring_enter":
        return call.arguments.split(", ")[1:2] == ["0"]  # else it hands over what is to be done
    return call.name in WAITING and "WAKE" not in call.arguments
