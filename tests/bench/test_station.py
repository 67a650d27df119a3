"""What a stretch of load is worth: errors, and others on the same cores."""

import sys

import pytest

from headrace.lab.load import Load
from headrace.lab.usage import Usage
from headrace.lab.window import Window
from suite import station
from suite.cell import Failure, Plan

SERVER = """\
import json, socket, sys, threading
def answer(connection):
    while data := connection.recv(65536):
        connection.sendall(data if sys.argv[1] == "honest" else data.upper())
listener = socket.create_server(("127.0.0.1", 0), backlog=100)
print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
while True:
    threading.Thread(target=answer, args=listener.accept()[:1], daemon=True).start()
"""


def window(**figures: object) -> Window:
    return Window(**{"seconds": 1.0, "requests": 1000, **figures})


def usage(cpu_ns: int = 0, waiting_ns: int = 0) -> Usage:
    return Usage(cpu_ns={1: cpu_ns}, ended_ns={1: 0}, waiting_ns={1: waiting_ns})


def serve(kind: str):
    def make_load(address: tuple[str, int]) -> Load:
        return Load(address, busy=3, size=100, echo=True)

    command = [sys.executable, "-c", SERVER, kind]
    return station.station(command, make_load, Plan(seconds=0.05), speaks=False)


def test_station_measures_an_honest_server_round_by_round():
    with serve("honest") as measure:
        samples = [measure(), measure()]
    for sample in samples:
        assert sample.figures["cpu_us"] > 0
        assert sample.figures["requests"] == sum(count for _, count in sample.latency_ns) >= 3
        assert {"requests_per_s", "user_ms", "system_ms"} <= set(sample.figures)


def test_station_of_a_server_that_answers_wrongly_is_a_failure():
    with pytest.raises(Failure, match="wrong bytes"), serve("liar"):
        pass


def test_station_of_a_server_that_ends_is_a_failure_with_its_last_words():
    command = [sys.executable, "-c", "raise OSError('no such thing here')"]
    ended = station.station(command, lambda address: None, Plan(), speaks=False)
    with pytest.raises(Failure, match="status 1: OSError: no such thing here"), ended:
        pass


def test_stretch_with_an_error_has_no_figures():
    with pytest.raises(Failure, match="3 wrong bytes, 1 reset by the server"):
        station.checked(window(errors={"wrong_bytes": 3, "reset": 1}))


def test_stretch_without_a_reply_has_no_figures():
    with pytest.raises(Failure, match="not one reply"):
        station.checked(window(requests=0))


def test_cpu_time_is_per_request():
    figures = station.network_figures(window(), usage(1_000_000), usage(6_000_000))
    assert figures["cpu_us"] == 5.0
    assert figures["requests_per_s"] == 1000.0


@pytest.mark.parametrize(
    ("waiting_ns", "cpu_share", "words"),
    [
        (50_000_000, 1.0, None),
        (200_000_000, 1.0, "the server waited for its core 20% of the time"),
        (0, 0.5, "the load generator had its core 50% of the time"),
    ],
)
def test_stretch_is_disturbed_when_others_used_a_core(waiting_ns, cpu_share, words):
    found = station.disturbance(window(cpu_share=cpu_share), usage(), usage(0, waiting_ns))
    assert found == words
