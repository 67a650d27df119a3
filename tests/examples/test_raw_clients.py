"""The raw programs that are no servers: generators, two HTTP clients, a chat, and the tiny loop."""

import http.server
import importlib.util
import itertools
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import pytest
from raw import PATIENCE_S, RAW

COUNT = 30
BODY = bytes(range(256)) * 2000


def run(name, *arguments, options=(), **environment):
    return subprocess.run(
        [sys.executable, *options, str(RAW / f"{name}.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=os.environ | environment,
    )


def assert_refused(answer, words):
    """One line, and no traceback."""
    assert answer.returncode == 1
    assert words in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert answer.stdout == ""


@pytest.fixture
def serve_http():
    """Starts a server with a thread for each connection."""
    servers = []

    def start(handle):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = handle()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def test_producer_consumer_take_turns():
    answer = run("producer_consumer", "2")
    assert answer.stderr == ""
    assert answer.stdout.splitlines() == [
        "[PRODUCER] produces 1",
        "[CONSUMER] consumes 1",
        "[PRODUCER] consumer replies: 200 OK",
        "[PRODUCER] produces 2",
        "[CONSUMER] consumes 2",
        "[PRODUCER] consumer replies: 200 OK",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["-1"], "cannot produce -1"), (["1", "2", "3"], "'1 2 3'"), (["water"], "'water'")],
)
def test_producer_consumer_names_a_bad_count(arguments, words):
    assert_refused(run("producer_consumer", *arguments), words)


def test_producer_consumer_ends_without_a_word_when_nobody_reads_on():
    command = [sys.executable, str(RAW / "producer_consumer.py"), "100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as popen:
        assert popen.stdout.readline() == b"[PRODUCER] produces 1\n"
        popen.stdout.close()
        assert popen.wait(PATIENCE_S) == -signal.SIGPIPE
        assert popen.stderr.read() == b""


def test_http_get_nonblocking_gets_the_whole_reply(serve_http):
    answer = run("http_get_nonblocking", serve_http(lambda: BODY))
    assert answer.stderr == ""
    status, rest = answer.stdout.split(", ", 1)
    assert status == "HTTP/1.0 200 OK"
    assert len(BODY) < int(rest.split()[0]) < len(BODY) + 500


@pytest.mark.parametrize(
    ("rest", "asked"), [("a/b?c=d&e", "/a/b?c=d&e"), ("?c", "/?c"), ("#part", "/")]
)
def test_http_get_nonblocking_asks_for_path_and_query(rest, asked):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(run, "http_get_nonblocking", url + rest)
            listener.settimeout(PATIENCE_S)
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(PATIENCE_S)
                assert connection.recv(1000).startswith(f"GET {asked} HTTP/1.0\r\n".encode())
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
            assert answer.result().stderr == ""


BAD_URLS = ["abc", "", "http://", "127.0.0.1:80/", "ftp://x", "http://[", "http://127.0.0.1:99999/"]


@pytest.mark.parametrize("url", [*BAD_URLS, "https://127.0.0.1/", "http://127.0.0.1/a b"])
def test_http_get_nonblocking_names_a_bad_url(url):
    assert_refused(run("http_get_nonblocking", url), f"{url!r}: ")


@pytest.mark.parametrize("url", [*BAD_URLS, "-1"])
def test_http_get_many_names_a_bad_url(url):
    assert_refused(run("http_get_many", url), url or "'': expected http://")


@pytest.mark.parametrize("arguments", [["--demo", "abc"], ["--demo", "--count", "0"]])
def test_http_get_many_says_what_it_expects(arguments):
    assert_refused(run("http_get_many", *arguments), "or --demo, --count from 1")


def test_http_get_many_names_a_model_that_is_not_known():
    answer = run("http_get_many", "--demo", HEADRACE_MODEL="kqueue")
    assert_refused(answer, "$HEADRACE_MODEL: unknown model 'kqueue'")


def test_http_get_many_says_that_aiohttp_is_missing():
    assert_refused(run("http_get_many", "--demo", options=["-S"]), "No module named 'aiohttp': pip")


@pytest.mark.parametrize("name", ["http_get_nonblocking", "http_get_many"])
def test_http_get_says_in_one_line_that_nobody_listens(name):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        answer = run(name, f"http://127.0.0.1:{taken.getsockname()[1]}/")
    assert answer.returncode == 1
    assert "Connect" in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_http_get_many_asks_all_at_once_but_with_a_blocking_client_one_by_one(serve_http):
    everybody = threading.Barrier(COUNT)
    numbers = itertools.count()

    def handle():
        if next(numbers) < COUNT:
            everybody.wait(PATIENCE_S)  # nobody is answered before all have asked
        return b"ok"

    answer = run("http_get_many", "--count", str(COUNT), serve_http(handle))
    assert answer.stderr == ""
    with_aiohttp, with_urllib = answer.stdout.splitlines()
    assert with_aiohttp.startswith(f"aiohttp: {COUNT} requests, {2 * COUNT} bytes, {COUNT} at once")
    assert with_urllib.startswith("urllib: 3 requests, 6 bytes, 1 at once")


def test_http_get_many_brings_a_server_of_its_own():
    answer = run("http_get_many", "--count", "10", "--demo")
    assert answer.stderr == ""
    assert "aiohttp: 10 requests, 20 bytes, 10 at once" in answer.stdout


def read_until(fd, end):
    data = b""
    while not data.endswith(end):
        data += os.read(fd, 1000)
    return data


def test_terminal_chat_hears_the_server_while_nobody_types():
    master, slave = pty.openpty()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, str(RAW / "terminal_chat.py"), str(listener.getsockname()[1])]
        with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave) as popen:
            try:
                os.close(slave)
                server, _ = listener.accept()
                server.settimeout(PATIENCE_S)
                with server:
                    server.sendall(b"who is there?\n")
                    assert read_until(master, b"\n") == b"who is there?\r\n"
                    os.write(master, b"water\n")
                    assert server.recv(100) == b"water\n"
                    os.write(master, b"\x04")  # Ctrl-D
                    assert server.recv(100) == b""
                    server.sendall(b"good bye\n")
                    assert read_until(master, b"bye\r\n") == b"water\r\ngood bye\r\n"
                assert popen.wait(PATIENCE_S) == 0
            finally:
                popen.kill()
                os.close(master)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("water", "[HOST:]PORT"),
        ("127.0.0.1:1", "Connection refused"),
        ("99999", "port 99999 is not from 0 to 65535"),
        ("127.0.0.1:-1", "port -1 is not from 0 to 65535"),
    ],
)
def test_terminal_chat_names_a_bad_address_in_one_line(argument, words):
    assert_refused(run("terminal_chat", argument), words)


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_terminal_chat_needs_its_terminal(closed):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        words = [sys.executable, str(RAW / "terminal_chat.py"), str(listener.getsockname()[1])]
        answer = subprocess.run(
            ["sh", "-c", f'exec "$@" {closed}', "sh", *words],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    assert_refused(answer, "standard input or output is closed")


@pytest.fixture
def tiny():
    """The tiny loop's module, with a clock that goes on by a second whenever it is read."""
    specification = importlib.util.spec_from_file_location("tiny", RAW / "tiny_event_loop.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    seconds = itertools.count()
    module.time = types.SimpleNamespace(monotonic=lambda: next(seconds))
    return module


@pytest.fixture
def loop(tiny):
    loop = tiny.Loop()
    yield loop
    loop.selector.close()


def test_tiny_loop_resumes_a_chain_of_coroutines_from_the_outermost(loop):
    steps = []

    async def inner():
        steps.append("inner stands still")
        await loop.sleep(0)
        steps.append("inner goes on")
        return 1

    async def middle():
        return await inner() + 1

    async def outer():
        return await middle() + 1

    assert loop.run(outer()) == 3
    assert steps == ["inner stands still", "inner goes on"]


def test_tiny_loop_runs_timers_in_their_order(tiny, loop):
    order = []

    async def wait(seconds):
        await loop.sleep(seconds)
        order.append(seconds)

    async def main():
        for task in [tiny.Task(loop, wait(seconds)) for seconds in (60, 0, 30, 90)]:
            await task

    loop.selector.select = lambda timeout: []  # the clock needs nobody to wait
    loop.run(main())
    assert order == [0, 30, 60, 90]


def test_tiny_loop_hands_an_error_to_whoever_awaits(loop):
    async def inner():
        await loop.sleep(0)
        raise KeyError("inner")

    async def outer():
        try:
            await inner()
        except KeyError as error:
            raise ValueError("outer") from error

    with pytest.raises(ValueError, match="outer"):
        loop.run(outer())


def test_tiny_loop_shows_an_error_that_nobody_awaits(tiny, loop, capsys):
    async def fail():
        raise KeyError("nobody")

    async def main():
        tiny.Task(loop, fail())
        await loop.sleep(0)
        await loop.sleep(0)

    loop.run(main())
    assert "KeyError: 'nobody'" in capsys.readouterr().err
