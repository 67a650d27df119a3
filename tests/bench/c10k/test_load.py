"""dkftpbench's rule: who is not served rightly, wholly and at its rate is out for good."""

from __future__ import annotations

import subprocess

import pytest
from scripted import FILE_BYTES, scripted

QUICK = ("--ramp=1000", "--rate=200000", "--seconds=1.2", "--reply-timeout=0.4")


@pytest.mark.parametrize("more", [(), ("--epsv",), ("--folder=/", "--receive-buffer=8192")])
def test_users_of_a_right_server_stay_alive(files, run_load, more):
    with scripted(files) as server:
        last = run_load(server.port, "--users=5", "--share-min=0.2", *QUICK, *more)
    assert last["reasons"] == {}
    assert (last["started"], last["alive"], last["logged_in"]) == (5, 5, 5)
    assert last["transfers"] >= 5
    assert last["bytes"] >= last["transfers"] * FILE_BYTES
    assert last["login_us"]["count"] == 5
    assert last["rate_bytes_per_s"]["count"] == last["transfers"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("wrong byte", "wrong byte"),
        ("short", "file too short"),
        ("long", "file too long"),
        ("stalls", "too slow"),
        ("says it broke", "wrong reply"),
        ("refuses USER", "login refused"),
        ("refuses PASS", "login refused"),
        ("refuses TYPE", "wrong reply"),
        ("refuses PASV", "wrong reply"),
        ("closes at PASS", "control connection closed"),
        ("closes at PASV", "control connection closed"),
        ("silent at PASV", "no reply in time"),
        ("silent at PASS", "not logged in in time"),
        ("greets nobody", "not logged in in time"),
    ],
)
def test_user_that_is_served_wrongly_is_out(files, run_load, fault, reason):
    with scripted(files, fault) as server:
        last = run_load(server.port, "--users=2", "--login-timeout=0.4", "--share-min=0.2", *QUICK)
    assert last["reasons"] == {reason: 2}
    assert (last["started"], last["alive"], last["logged_in"]) == (2, 0, 0)


def test_user_that_cannot_connect_is_out(files, run_load):
    with scripted(files) as server:
        pass
    last = run_load(server.port, "--users=2", *QUICK)
    assert last["reasons"] == {"cannot connect": 2}


def test_reads_are_no_faster_than_the_rate(files, run_load):
    with scripted(files) as server:
        last = run_load(
            server.port, "--users=1", "--rate=40000", "--seconds=1.5", "--share-min=0.2"
        )
    assert last["transfers"] >= 1
    # Never faster; how much slower is the machine's affair.
    assert last["rate_bytes_per_s"]["max"] <= 40_000
    assert last["bytes"] <= 40_000 * 1.5 + FILE_BYTES


@pytest.mark.parametrize("processes", [1, 3])
def test_unpaced_users_read_what_there_is(files, run_load, processes):
    words = ("--users=4", "--rate=0", "--seconds=0.5", "--ramp=1000", f"--processes={processes}")
    with scripted(files) as server:
        last = run_load(server.port, *words)
    assert last["reasons"] == {}
    assert last["processes"] == processes
    assert last["transfers"] > 4


def test_idle_users_ask_for_nothing(files, run_load):
    with scripted(files, "closes at PASV") as server:
        last = run_load(server.port, "--users=3", "--idle", "--seconds=0.5", "--ramp=1000")
    assert (last["alive"], last["logged_in"], last["transfers"]) == (3, 3, 0)


def test_ramp_spreads_the_users_over_time(files, run_load):
    with scripted(files) as server:
        last = run_load(server.port, "--users=1000", "--idle", "--ramp=10", "--seconds=0.75")
    assert 6 <= last["started"] <= 11


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--users=0",), "no number of at least 1"),
        (("--sources=127.0.0.1,here",), "here is no IPv4 address"),
        (("--files=/nonexistent",), "/nonexistent"),
        (("--host=::1",), "no IPv4 address"),
    ],
)
def test_wrong_options_are_named(load_program, files, words, complaint):
    command = [str(load_program), "--host=127.0.0.1", f"--files={files}", *words, "--seconds=0.1"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert answer.returncode != 0
    assert complaint in answer.stderr


def test_clock_of_a_core_is_measured(load_program):
    answer = subprocess.run(
        [str(load_program), "--measure-gigahertz"], capture_output=True, text=True
    )
    assert 0.1 < float(answer.stdout) < 10
