"""``headrace compare --http``: services that are not ours, and commands that serve nothing."""

import contextlib
import json
import os
import signal
import socket
import sys
import time

import pytest
from comparing import (
    SHORT,
    THREADED,
    answered,
    descendants,
    free_port,
    is_running,
    processes_with,
    run,
    run_json,
    started,
    wait_until,
)

from headrace.lab.usage import process_tree

AIOHTTP = """\
import sys
from aiohttp import web
async def plain(request):
    return web.Response(text="hello")
async def chunked(request):
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(b"hello")
    return response
application = web.Application()
application.add_routes([web.get("/", plain), web.get("/chunked", chunked)])
web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""
STREAMS = """\
import asyncio, os, sys
async def answer(reader, writer):
    try:
        while await reader.readuntil(b"\\r\\n\\r\\n"):
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
how = sys.argv[2] if len(sys.argv) > 2 else "asyncio"
if how == "fork" and os.fork():
    os.wait()
elif how == "uvloop":
    import uvloop
    asyncio.run(asyncio.sleep(0))  # prepares something on the default loop, then serves on its own
    uvloop.run(main())
else:
    asyncio.run(main())
"""
# Burns 30 ms for each request, in a process of its own.
FORKING = """\
import http.server, socketserver, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        end_s = time.process_time() + 0.03
        while time.process_time() < end_s: pass
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *rest): pass
class Server(socketserver.ForkingMixIn, http.server.HTTPServer):
    request_queue_size = 100
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
SAYS = """\
import socket, sys
print("line one", "\\x1b[31mline two\\x1b[0m", "no luck", sep="\\n", file=sys.stderr, flush=True)
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(sys.argv[2].encode())
"""


@pytest.fixture
def script(tmp_path):
    """Writes a program, answers its path."""

    def write(text: str) -> str:
        path = tmp_path / "server.py"
        path.write_text(text)
        return str(path)

    return write


def is_answering(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def url_of(port: int) -> str:
    return f"http://127.0.0.1:{port}/"


@pytest.mark.parametrize("path", ["/", "/chunked"])
def test_compare_loads_an_aiohttp_application(tmp_path, path):
    pytest.importorskip("aiohttp")
    port = free_port()
    report = run_json(
        tmp_path, *SHORT, "--models", "uring,epoll,asyncio",
        "--http", f"http://127.0.0.1:{port}{path}", "--", sys.executable, "-c", AIOHTTP, str(port),
    )  # fmt: skip
    assert [row["model"] for row in report["rows"]] == ["uring", "epoll", "asyncio"]
    for row in report["rows"]:
        assert row["errors"] == 0, row["notes"]
        assert answered(row) > 0, row["notes"]


def test_compare_loads_a_threaded_server_behind_a_shell(tmp_path):
    port = free_port()
    script = tmp_path / "server.py"
    script.write_text(THREADED)
    report = run_json(
        tmp_path, *SHORT, "--models", "asyncio", "--http", f"http://localhost:{port}/",
        "--", "sh", "-c", f"{sys.executable} {script} {port} & wait",
    )  # fmt: skip
    (row,) = report["rows"]
    assert row["errors"] == 0, row["notes"]
    assert row["rounds"][0]["cpu_us_per_request"] > 0
    assert processes_with(str(script)) == []


def test_compare_counts_the_cpu_time_of_a_child_for_each_request(tmp_path, script):
    port = free_port()
    report = run_json(
        tmp_path, "--repeat", "1", "--seconds", "1", "--busy", "2", "--models", "asyncio",
        "--http", url_of(port), "--", sys.executable, script(FORKING), str(port),
    )  # fmt: skip
    (one,) = report["rows"][0]["rounds"]
    assert (one["failed"], one["errors"], one["cpu_known"]) == (None, {}, True)
    assert one["cpu_us_per_request"] > 20_000


def test_compare_keeps_the_rows_that_were_done_when_it_is_stopped(tmp_path):
    path = tmp_path / "result.json"
    port = free_port()
    script = tmp_path / "server.py"
    script.write_text(THREADED)
    tried, again = tmp_path / "tried", tmp_path / "again"
    # The third start of the command never answers: by then it was tried, and measured once.
    command = (
        f"test -e {again} && exec sleep 1000; test -e {tried} && touch {again}; touch {tried};"
        f" exec python3 {script} {port}"
    )
    with started(
        *SHORT, "--repeat", "2", "--models", "asyncio", "--json", str(path),
        "--http", f"http://127.0.0.1:{port}/", "--", "sh", "-c", command,
    ) as process:  # fmt: skip
        (server,) = wait_until(lambda: descendants(process, "sleep 1000"))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; measured so far:" in err
    (row,) = json.loads(path.read_text())["rows"]
    assert answered(row) > 0
    assert len(row["rounds"]) == 1
    assert "as it is" in out
    assert not is_running(server, "sleep 1000")


def test_compare_killed_outright_leaves_no_worker_of_the_service(script):
    """The service's child hears of nobody's death by itself, nor does the child's child."""
    port = free_port()
    path = script(STREAMS)
    line = f"(sh -c '{sys.executable} {path} {port}; true'; true) & wait"
    with started(
        "--models", "asyncio", "--seconds", "1000", "--http", url_of(port), "--", "sh", "-c", line,
    ) as process:  # fmt: skip
        wait_until(lambda: is_answering(port))
        workers = [pid for pid in process_tree(process.pid)[1:] if is_running(pid, path)]
        assert len(workers) >= 3
        try:
            process.kill()
            process.wait()
            wait_until(lambda: not any(is_running(pid, path) for pid in workers))
        finally:
            for pid in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    assert not is_answering(port)


@pytest.mark.parametrize("how", ["asyncio", "fork"])
def test_compare_proves_the_model_of_a_service_and_of_its_workers(tmp_path, script, how):
    port = free_port()
    report = run_json(
        tmp_path, *SHORT, "--models", "poll,epoll,asyncio", "--http", url_of(port),
        "--", sys.executable, script(STREAMS), str(port), how,
    )  # fmt: skip
    for row in report["rows"]:
        assert answered(row) > 0, row["notes"]


def test_compare_starts_the_next_row_though_a_ring_held_the_port(tmp_path, script):
    port = free_port()
    report = run_json(
        tmp_path, *SHORT, "--repeat", "2", "--models", "uring,asyncio", "--http", url_of(port),
        "--", sys.executable, script(STREAMS), str(port),
    )  # fmt: skip
    for row in report["rows"]:
        assert [one["failed"] for one in row["rounds"]] == [None] * len(row["rounds"])


def test_compare_gives_no_figures_to_a_service_that_asks_for_uvloop(tmp_path, script):
    uvloop = pytest.importorskip("uvloop")
    port = free_port()
    report = run_json(
        tmp_path, *SHORT, "--models", "epoll,asyncio", "--http", url_of(port),
        "--", sys.executable, script(STREAMS), str(port), "uvloop",
    )  # fmt: skip
    epoll, plain = report["rows"]
    assert epoll["requests_per_s"] is None
    assert "COMMAND made no headrace loop" in epoll["notes"][0]
    assert answered(plain) > 0
    assert plain["rounds"][0]["other_loops"] == [f"uvloop {uvloop.__version__}"]


def test_compare_finds_no_other_loop_in_a_service_that_uses_asyncio_s(tmp_path, script):
    port = free_port()
    (row,) = run_json(
        tmp_path, *SHORT, "--models", "asyncio", "--http", url_of(port),
        "--", sys.executable, script(STREAMS), str(port), "fork",
    )["rows"]  # fmt: skip
    assert answered(row) > 0, row["notes"]
    assert row["rounds"][0]["other_loops"] == []


def test_compare_gives_no_figures_to_a_service_without_a_loop(tmp_path, script):
    port = free_port()
    answer = run(
        *SHORT, "--models", "epoll", "--http", url_of(port),
        "--", sys.executable, script(THREADED), str(port),
    )  # fmt: skip
    assert answer.returncode == 1
    assert "epoll !  COMMAND made no headrace loop" in answer.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [(["-E"], "or runs another Python, or python with -E"), ([], "headrace: not active in /")],
)
def test_compare_says_why_headrace_is_not_active_in_a_service(tmp_path, script, options, words):
    """The second one's headrace cannot be imported, as in a Python of another version."""
    port = free_port()
    hidden = script(STREAMS)
    (tmp_path / "headrace.py").write_text("raise ImportError('no module for this Python')")
    (row,) = run_json(
        tmp_path, *SHORT, "--models", "epoll", "--http", url_of(port),
        "--", sys.executable, *options, hidden, str(port),
    )["rows"]  # fmt: skip
    assert row["notes"][0].startswith("COMMAND made no headrace loop: ")
    assert words in row["notes"][0]


def test_compare_gives_no_figures_to_a_service_that_chooses_its_model(tmp_path, script):
    port = free_port()
    report = run_json(
        tmp_path, *SHORT, "--models", "epoll,poll,asyncio", "--http", url_of(port), "--",
        sys.executable, "-m", "headrace", "run", "--model", "poll", script(STREAMS), str(port),
    )  # fmt: skip
    epoll, poll, plain = report["rows"]
    assert epoll["notes"] == ["COMMAND ran on poll, not epoll"]
    assert plain["notes"] == ["COMMAND ran on poll, not asyncio"]
    assert answered(poll) > 0


def test_compare_takes_a_line_for_the_shell_as_its_command(tmp_path, script):
    port = free_port()
    line = f"{sys.executable} {script(STREAMS)} {port}"
    arguments = (*SHORT, "--models", "asyncio", "--http", url_of(port))
    (row,) = run_json(tmp_path, *arguments, "--", line)["rows"]
    assert answered(row) > 0, row["notes"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["/no/such/program"], "cannot be started: No such file or directory: '/no/such/program'"),
        ([sys.executable, "-c", "raise SystemExit('no such option')"], "status 1: no such option"),
        (["no-such-program --port 80"], "status 127"),
    ],
)
def test_compare_refuses_a_command_that_does_not_run(command, words):
    answer = run(*SHORT, "--http", url_of(free_port()), "--", *command)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert words in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_compare_says_where_a_command_listens_instead(script):
    port, other = free_port(), free_port()
    began = time.monotonic()
    answer = run(*SHORT, "--http", url_of(port), "--", sys.executable, script(STREAMS), str(other))
    assert answer.returncode == 2
    assert f"listens on 127.0.0.1:{other}, not on 127.0.0.1:{port}" in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert time.monotonic() - began < 25  # a wait for all rows, and less than the longest


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("", "closed the connection without an answer"),
        ("220 hello\r\n", "does not speak HTTP: it answered '220 hello'"),
        ("HTTP/1.1 404 Not Found\r\n\r\n", "GET / is answered 404 Not Found"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", "closed the connection within its"),
    ],
)
def test_compare_says_what_a_wrong_service_answers(script, reply, words):
    port = free_port()
    answer = run(
        *SHORT, "--http", url_of(port), "--", sys.executable, script(SAYS), str(port), reply
    )
    assert answer.returncode == 2
    assert words in answer.stderr
    assert "its standard error ends: line one | line two | no luck" in answer.stderr
    assert answer.stderr.count("\n") == 1
