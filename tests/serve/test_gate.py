"""The gate: how many come in, and how often a password may be tried; on a clock of its own."""

from __future__ import annotations

import copy

import pytest

from headrace.serve.gate import TOO_MANY_CLIENTS, TOO_MANY_OF_ADDRESS, Gate, address_key
from headrace.serve.limits import make_limits
from headrace.serve.meters import Meter, Meters


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def gate_of(clock: Clock, **limits: object) -> Gate:
    return Gate(make_limits(limits), clock)


def test_gate_admits_as_many_clients_as_it_may_and_another_when_one_has_gone(clock):
    gate = gate_of(clock, clients_max=2)
    assert gate.admit("192.0.2.1") is None
    assert gate.admit("192.0.2.2") is None
    assert gate.admit("192.0.2.3") == TOO_MANY_CLIENTS
    gate.release("192.0.2.1")
    assert gate.admit("192.0.2.3") is None
    assert gate.clients == 2


def test_gate_admits_as_many_of_an_address_as_it_may(clock):
    gate = gate_of(clock, clients_per_address_max=2)
    assert [gate.admit("192.0.2.1") for _ in range(3)] == [None, None, TOO_MANY_OF_ADDRESS]
    assert gate.admit("192.0.2.2") is None
    gate.release("192.0.2.1")
    assert gate.admit("192.0.2.1") is None


def test_gate_forgets_addresses_that_have_gone(clock):
    gate = gate_of(clock)
    for number in range(1000):
        assert gate.admit(f"192.0.2.{number}") is None
        gate.release(f"192.0.2.{number}")
    assert repr(gate) == "<Gate clients=0 addresses=0>"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::1", "127.0.0.1", False),
        ("", "", True),
        ("x:y", "x:z", False),
    ],
)
def test_addresses_of_one_customer_count_as_one(one, other, same):
    assert (address_key(one) == address_key(other)) == same


def test_delay_doubles_with_each_failure_up_to_its_limit(clock):
    gate = gate_of(clock, login_delay_s_max=5.0)
    assert [gate.login_failed("192.0.2.1") for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert gate.login_failed("192.0.2.2") == 1.0
    assert gate_of(clock, login_delay_s_max=0.0).login_failed("192.0.2.1") == 0.0


def test_address_with_too_many_failures_is_locked_out_for_a_while(clock):
    gate = gate_of(clock, login_failures_max=3, login_lockout_s=100.0)
    for _ in range(2):
        gate.login_failed("2001:db8::1")
    assert not gate.login_refused("2001:db8::1")
    gate.login_failed("2001:db8::2")
    assert gate.login_refused("2001:db8::3")
    assert not gate.login_refused("2001:db8:1::1")
    assert gate.admit("2001:db8::1") is None  # without a name it may still come
    clock.now_s += 99.9
    assert gate.login_refused("2001:db8::1")
    clock.now_s += 0.1
    assert not gate.login_refused("2001:db8::1")
    assert gate.login_failed("2001:db8::1") == 1.0


def test_each_failure_begins_the_while_anew(clock):
    gate = gate_of(clock, login_failures_max=3, login_lockout_s=100.0)
    for _ in range(3):
        gate.login_failed("192.0.2.1")
        clock.now_s += 60
    assert gate.login_refused("192.0.2.1")
    clock.now_s += 40
    assert not gate.login_refused("192.0.2.1")


def test_very_many_failures_do_not_overflow(clock):
    gate = gate_of(clock)
    for _ in range(5000):
        delay_s = gate.login_failed("192.0.2.1")
    assert delay_s == gate.limits.login_delay_s_max


def test_limits_can_be_changed_while_clients_are_in(clock):
    gate = gate_of(clock, clients_max=2)
    assert gate.admit("a") is None
    gate.limits = make_limits({"clients_max": 1})
    assert gate.admit("b") == TOO_MANY_CLIENTS
    gate.limits = make_limits({"clients_max": 2})
    assert gate.admit("b") is None


@pytest.fixture
def views() -> list[Meters]:
    """What two workers share, as each has it after the fork; and as the master has it."""
    shared = Meters(2)
    made = [copy.copy(shared), copy.copy(shared), shared]
    for worker in range(2):
        made[worker].begin(worker)
    return made


def test_gates_of_all_workers_share_the_limits_of_connections(clock, views):
    limits = make_limits({"clients_max": 4, "clients_per_address_max": 2})
    gates = [Gate(limits, clock, views[worker]) for worker in range(2)]

    def admit(worker: int, address: str) -> str | None:
        why = gates[worker].admit(address)
        if why is None:
            views[worker].add(Meter.FTP_SESSIONS)
        return why

    assert admit(0, "a") is None
    assert admit(1, "a") is None
    assert admit(0, "a") == admit(1, "a") == TOO_MANY_OF_ADDRESS
    assert admit(0, "b") is None
    assert admit(1, "c") is None
    assert admit(0, "d") == admit(1, "d") == TOO_MANY_CLIENTS
    gates[1].release("a")
    views[1].add(Meter.FTP_SESSIONS, -1)
    assert admit(0, "a") is None
    views[2].end(0)  # it died, and its clients with it
    assert admit(1, "a") is None


def test_failures_count_over_all_workers_and_outlive_them(clock, views):
    limits = make_limits({"login_failures_max": 4, "login_lockout_s": 100.0})
    gates = [Gate(limits, clock, views[worker]) for worker in range(2)]
    assert [gates[at].login_failed("a") for at in (0, 1, 0)] == [1.0, 2.0, 4.0]
    views[2].end(0)
    views[0].begin(0)
    assert not gates[1].login_refused("a")
    assert gates[1].login_failed("a") == 8.0
    assert gates[0].login_refused("a")
    assert gates[1].login_refused("a")
    clock.now_s += 100
    assert not gates[0].login_refused("a")
    assert gates[0].login_failed("a") == 1.0


def test_lockout_begins_with_one_failure_and_only_that_one(clock):
    gate = gate_of(clock, login_failures_max=3, login_lockout_s=100.0)
    begins = []
    for _ in range(5):
        gate.login_failed("192.0.2.1")
        begins.append(gate.lockout_begins("192.0.2.1"))
    assert begins == [False, False, True, False, False]
    assert not gate.lockout_begins("192.0.2.2")
