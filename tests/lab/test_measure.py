"""A round tells all that went wrong in it, whenever that was."""

import sys
from pathlib import Path

from headrace.lab import measure
from headrace.lab.contenders import Contender
from headrace.lab.measure import Plan, Round, measure_round
from headrace.lab.process import Cores

# Answers the upper case; whenever it finds the file of its second argument, takes it away and
# answers one wrong byte.  Closes as many connections as its first argument says, the first ones.
SERVER = """\
import contextlib, json, os, socket, sys, threading
def answer(connection):
    with connection, contextlib.suppress(OSError):
        while data := connection.recv(65536):
            reply = data.upper()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(sys.argv[2])
                reply = bytes([reply[0] ^ 1]) + reply[1:]
            connection.sendall(reply)
listener = socket.create_server(("127.0.0.1", 0), backlog=100)
print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
for number in range(1000):
    connection, _ = listener.accept()
    if number < int(sys.argv[1]):
        connection.close()
    else:
        threading.Thread(target=answer, args=(connection,), daemon=True).start()
"""


def measure_server(lie: Path, *, closes: int = 0, trace_point: int | None = None) -> Round:
    command = (sys.executable, "-c", SERVER, str(closes), str(lie))
    contender = Contender("liar", "floor", command=command, speaks=False)
    plan = Plan(busy=2, idle=5, size=100, seconds=0.1, trace_point=trace_point)
    return measure_round(contender, plan, Cores.choose(), lambda what: None)


def test_round_of_an_honest_server_has_no_errors(tmp_path):
    found = measure_server(tmp_path / "lie")
    assert (found.failed, found.window.errors) == (None, {})
    assert found.window.requests > 0


def test_round_counts_the_idle_connections_that_were_closed_before_the_measured_stretch(tmp_path):
    found = measure_server(tmp_path / "lie", closes=4)
    assert (found.failed, found.window.errors) == (None, {"idle_closed": 4})
    assert found.window.requests > 0


def test_round_counts_a_wrong_reply_of_the_warm_up(tmp_path):
    lie = tmp_path / "lie"
    lie.touch()
    found = measure_server(lie)
    assert (found.failed, found.window.errors) == (None, {"wrong_bytes": 1})
    assert found.window.requests > 0


def test_round_counts_a_wrong_reply_while_system_calls_were_counted(tmp_path, monkeypatch):
    lie = tmp_path / "lie"

    class Counter:
        """Opens no trace point, but makes the server lie as soon as one would be open."""

        def __init__(self, trace_point: int, pids: list[int]) -> None:
            lie.touch()

        def read(self) -> int:
            return 1

        def close(self) -> None:
            assert not lie.exists()

    monkeypatch.setattr(measure, "SystemCallCounter", Counter)
    found = measure_server(lie, trace_point=1)
    assert (found.failed, found.window.errors) == (None, {"wrong_bytes": 1})
    assert found.window.requests > 0
