"""Recordings made by hand: what happens at which microsecond is known."""

from headrace.trace.client import Request
from headrace.trace.record import Recording
from headrace.trace.strace import Call

LOOP, WORKER = 10, 11
FD = 7
REQUEST = Request(
    begin=1_000_000, send_start=6_000_000, send_end=6_040_000, first_answer=6_180_000,
    answered=6_190_000,
)  # fmt: skip
TOLD = (6_100_000, 6_120_000, 32_768)


def call(name, start_us, end_us, arguments="", result=0, *, thread=LOOP, error=""):
    """Times are microseconds from the beginning of the request."""
    start, end = (REQUEST.begin + int(us * 1000) for us in (start_us, end_us))
    return Call(thread, name, arguments, -1 if error else result, error, start, end)


def receive(start_us, end_us, result=32_768, **more):
    return call("recvfrom", start_us, end_us, f'{FD}, ""..., 65536, 0', result, **more)


def recording(calls=None, told=(TOLD,), waited=((900_000, 6_060_000, 1),), requests=(REQUEST,)):
    return Recording(
        list(requests), LOOP, FD, [(500_000, "receive", FD)], list(waited), list(told), calls
    )


def of_epoll():
    return recording([
        call("epoll_wait", -50, 5060, "3, [...], 1024, -1", 1), receive(5070, 5082),
        call("sendto", 5125, 5160, f"{FD}, ...", 32_768),
    ])  # fmt: skip


def of_threads():
    """A worker blocks in recv(2) in both phases, and wakes the loop, which waits for its word."""
    return recording([
        call("futex", -40, 5080, "0x1, FUTEX_WAIT, 0"), receive(-50, 5062, thread=WORKER),
        call("futex", 5064, 5070, "0x1, FUTEX_WAKE, 1", 1, thread=WORKER),
        call("futex", -900, 9000, "0x2, FUTEX_WAIT, 0", thread=12),
        receive(5090, 9000, 0, thread=WORKER),
    ])  # fmt: skip


def of_ring():
    return recording([call("io_uring_enter", -50, 5060, "3, 0, 1, IORING_ENTER_GETEVENTS")])


def of_polling():
    tries = [receive(at, at + 5, error="EAGAIN") for at in range(0, 5000, 100)]
    naps = [call("sched_yield", at + 50, at + 55) for at in range(0, 5000, 100)]
    both = sorted([*tries, *naps, receive(5050, 5060)], key=lambda one: one.start)
    return recording(both)
