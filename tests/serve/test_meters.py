"""Meters: each worker writes its own, and everybody reads all."""

from __future__ import annotations

import copy
import os

import pytest

from headrace.serve.meters import GAUGES, Meter, Meters


@pytest.fixture
def shared() -> Meters:
    return Meters(3)


def view(shared: Meters, worker: int) -> Meters:
    """The same memory, as that worker has it after the fork."""
    made = copy.copy(shared)
    made.begin(worker)
    return made


def test_what_workers_count_is_seen_by_all(shared):
    views = [view(shared, worker) for worker in range(3)]
    for worker, meters in enumerate(views):
        meters.add(Meter.FTP_SESSIONS, worker + 1)
        meters.add(Meter.BYTES_SENT, 2**40)
    assert shared.total(Meter.FTP_SESSIONS) == 6
    assert views[0].total(Meter.BYTES_SENT) == 3 * 2**40
    assert views[1].get(Meter.FTP_SESSIONS) == 2
    assert views[1].elsewhere(Meter.FTP_SESSIONS) == 4
    assert views[0].of_worker(2)[Meter.FTP_SESSIONS] == 3
    assert views[0].of_worker(2)[Meter.PID] == os.getpid()


def test_counts_of_a_forked_process_are_seen(shared):
    child = os.fork()
    if child == 0:
        shared.begin(1)
        shared.add(Meter.FTP_SESSIONS, 5)
        shared.count_address("a", 2)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    shared.begin(0)
    assert shared.elsewhere(Meter.FTP_SESSIONS) == 5
    assert shared.address_elsewhere("a") == 2
    assert shared.of_worker(1)[Meter.PID] == child


def test_worker_that_died_has_no_clients_any_more_and_its_totals_stay(shared):
    dying = view(shared, 1)
    for meter in Meter:
        if meter is not Meter.PID:
            dying.add(meter, 7)
    dying.count_address("a", 3)
    shared.end(1)
    row = shared.of_worker(1)
    assert all(row[meter] == (0 if meter in GAUGES else 7) for meter in Meter)
    assert view(shared, 0).address_elsewhere("a") == 0
    again = view(shared, 1)
    again.add(Meter.COMMANDS)
    assert again.get(Meter.COMMANDS) == 8


def test_only_worker_has_nobody_elsewhere():
    meters = Meters()
    meters.count_address("a", 5)
    meters.add(Meter.FTP_SESSIONS)
    assert meters.address_elsewhere("a") == 0
    assert meters.elsewhere(Meter.FTP_SESSIONS) == 0
    assert repr(meters) == "<Meters worker 0 of 1, 1 clients>"
