"""A timeline says who waits in phase 1 and who copies in phase 2."""

from dataclasses import replace

from recordings import (
    FD,
    REQUEST,
    TOLD,
    WORKER,
    call,
    of_epoll,
    of_polling,
    of_ring,
    of_threads,
    receive,
    recording,
)

from headrace.trace.phases import medians_us, middle_request, phases_of
from headrace.trace.timeline import (
    ARRIVES,
    CALLS,
    COPIES,
    RUNS,
    TRIES,
    UNSEEN,
    WAITS,
    build,
)


def built(made):
    return build(made, "declared to wait", "declared to copy")


def lane(timeline, name):
    return next(lane for lane in timeline.lanes if lane.name == name)


def parts(timeline, name):
    return [(span.kind, span.name, span.start, span.end) for span in lane(timeline, name).spans]


def test_timeline_of_a_readiness_model_waits_in_its_call_and_copies_in_another():
    timeline = built(of_epoll())
    assert timeline.waits == "the loop's thread, in epoll_wait()"
    assert timeline.copies == "the loop's thread, in recvfrom()"
    assert (timeline.sent, timeline.there, timeline.told) == (5000, 5040, 5100)
    loop = parts(timeline, "the loop's thread")
    assert (WAITS, "epoll_wait", 0, 5060) in loop
    assert (COPIES, "recvfrom", 5070, 5082) in loop
    assert (RUNS, "data_received", 5100, 5120) in loop
    assert (CALLS, "sendto", 5125, 5160) in loop
    assert parts(timeline, "the kernel") == [(ARRIVES, "data arrive", 5000, 5040)]


def test_timeline_of_a_thread_that_blocks_in_both_phases_cuts_its_call_in_two():
    timeline = built(of_threads())
    assert timeline.waits == (
        "thread 2, in recvfrom(); meanwhile the loop's thread, in futex()"
    )  # fmt: skip
    assert timeline.copies == "thread 2, in recvfrom()"
    assert parts(timeline, "thread 2") == [
        (WAITS, "recvfrom", 0, 5040), (COPIES, "recvfrom", 5040, 5062),
        (CALLS, "futex", 5064, 5070),
        (WAITS, "recvfrom", 5090, 5190),  # for the next request already
    ]  # fmt: skip


def test_timeline_leaves_out_a_thread_that_took_no_part():
    assert [lane.name for lane in built(of_threads()).lanes] == [
        "the client", "the kernel", "the loop's thread", "thread 2",
    ]  # fmt: skip


def test_timeline_gives_the_copying_to_the_kernel_where_no_thread_calls_for_it():
    timeline = built(of_ring())
    assert timeline.waits.startswith("the kernel; meanwhile the loop's thread, in io_uring_enter")
    assert timeline.copies == "the kernel: no thread calls for them"
    assert parts(timeline, "the kernel")[1] == (UNSEEN, "copied", 5040, 5060)


def test_timeline_of_polling_counts_what_was_asked_in_vain():
    timeline = built(of_polling())
    assert timeline.waits == "nobody: the loop's thread calls recvfrom() 50 times in vain"
    assert timeline.copies == "the loop's thread, in recvfrom()"
    vain = [part for part in parts(timeline, "the loop's thread") if part[0] == TRIES]
    assert len(vain) == 50


def test_timeline_names_how_often_the_data_were_taken_in_pieces():
    pieces = [receive(5050, 5060, 20_000), receive(5070, 5080, 12_768)]
    assert built(recording(pieces)).copies == "the loop's thread, in recvfrom(), 2 times"


def test_timeline_does_not_take_another_descriptors_data_for_the_requests():
    other = call("read", 5050, 5060, f"{FD + 1}, ...", 10)
    assert built(recording([other])).copies == "the kernel: no thread calls for them"


def test_timeline_without_strace_says_what_the_model_declares():
    timeline = built(recording())
    assert (timeline.waits, timeline.copies) == ("declared to wait", "declared to copy")
    assert not timeline.is_seen
    assert parts(timeline, "copied by") == [(UNSEEN, "declared to copy", 5040, 5100)]
    assert (WAITS, "the model's wait()", 0, 5060) in parts(timeline, "the loop's thread")


def test_timeline_knows_the_data_are_there_when_a_waiting_call_has_ended():
    woken = recording([call("epoll_wait", -50, 5010, "3, [...]", 1)])
    assert phases_of(woken, REQUEST).waiting_us == 5010
    # One that ended in vain has not seen them.
    vain = recording([receive(4990, 5010, error="EAGAIN")])
    assert phases_of(vain, REQUEST).waiting_us == 5040


def test_timeline_phase_2_lasts_until_the_last_piece_is_told():
    pieces = [(6_100_000, 6_101_000, 20_000), (6_150_000, 6_151_000, 12_768)]
    assert phases_of(recording(told=pieces), REQUEST).copying_us == 110


def test_timeline_shows_the_request_whose_phase_2_is_the_middle_one():
    later = [replace(REQUEST, **{
        name: getattr(REQUEST, name) + at for name in vars(REQUEST)
    }) for at in (0, 10_000_000, 20_000_000)]  # fmt: skip
    told = [
        (TOLD[0] + at + late, TOLD[1] + at + late, TOLD[2])
        for at, late in ((0, 50_000), (10_000_000, 9_000), (20_000_000, 20_000))
    ]
    made = recording(told=told, requests=later)
    assert middle_request(made) is later[2]
    assert medians_us(made) == (5040, 80)


def test_timeline_says_how_long_before_the_model_was_asked():
    assert built(of_epoll()).asked_before == 500


def test_timeline_names_no_thread_that_waits_for_other_work():
    calls = [*of_threads().calls, call("sendto", 5130, 5140, thread=12)]
    sender = call("futex", -40, 5128, "0x2, FUTEX_WAIT, 0", thread=12)
    timeline = built(recording([*(one for one in calls if one.end < REQUEST.answered), sender]))
    assert "thread 3" in [lane.name for lane in timeline.lanes]
    assert "thread 3" not in timeline.waits


def test_timeline_takes_no_futex_for_a_call_in_vain():
    made = recording([call("futex", 5050, 5060, "0x1, FUTEX_WAIT, 0", error="EAGAIN")])
    kinds = {span.kind for span in lane(built(made), "the loop's thread").spans}
    assert TRIES not in kinds


def test_timeline_shows_a_wait_that_a_signal_has_ended():
    interrupted = call("futex", -40, 5070, "0x1, FUTEX_WAIT, 0", error="ERESTARTSYS")
    taker = receive(-50, 5062, thread=WORKER)
    timeline = built(recording([taker, interrupted]))
    assert timeline.waits == "thread 2, in recvfrom(); meanwhile the loop's thread, in futex()"
    assert (WAITS, "futex", 0, 5070) in parts(timeline, "the loop's thread")
