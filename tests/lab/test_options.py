"""Bad arguments of ``headrace compare`` are one clear line and status 2."""

import socket
import sys

import pytest

from headrace.lab import compare, contenders, options


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--busy", "none"], "--busy: 'none' is not a whole number from 1 to 100,000"),
        (["--busy", "0"], "'0' is not a whole number from 1"),
        (["--idle", "-1"], "'-1' is not a whole number from 0"),
        (["--idle", "900000"], "RLIMIT_NOFILE"),
        (["--size", "0"], "'0' is not a whole number from 1"),
        (["--seconds", "nan"], "'nan' is not a number of seconds"),
        (["--seconds", "0"], "'0' is not a number of seconds from 0.05"),
        (["--repeat", "x"], "'x' is not a whole number"),
        (["--mode", "datagrams"], "'datagrams'"),
        (["--models", "epoll,kqueue"], "unknown model 'kqueue'; known: blocking, nonblocking"),
        (["--models", ","], "names no model"),
        (["--json", "/nowhere/at/all.json"], "no directory '/nowhere/at'"),
        (["--html", "/"], "'/' is a directory"),
        (["--html", ""], "--html: '' names no file"),
        (["--fast"], "--fast"),
        (["server.py"], "unexpected argument 'server.py'; COMMAND goes after --"),
        (["--", "python"], "needs the URL it serves: --http URL"),
        (["--http", "http://127.0.0.1:1/"], "--http URL -- COMMAND"),
        (["--http", "https://localhost/", "--", "x"], "expected http://HOST:PORT/PATH"),
        (["--http", "localhost:80", "--", "x"], "expected http://HOST:PORT/PATH"),
        (["--http", "http://8.8.8.8/", "--", "x"], "8.8.8.8 is not this machine's loopback"),
        (["--http", "http://nowhere.invalid/", "--", "x"], "'nowhere.invalid' is not found ("),
        (["--http", "http://127.0.0.1:99999/", "--", "x"], "bad URL"),
        (["--http", "http://127.0.0.1/\u00fc", "--", "x"], "printable ASCII"),
        (["--http", "http://127.0.0.1:1/", "--floor", "--", "x"], "--floor"),
        (["--http", "http://127.0.0.1:1/", "--raw", "--", "x"], "--raw is the upper-case service"),
        (["--models", "raw:select"], "raw:blocking, raw:threads, raw:thread_pool"),
        (["--http", "http://127.0.0.1:1/", "--mode", "protocol", "--", "x"], "--mode is of the"),
        (["--http", "http://127.0.0.1:1/", "--size", "1024", "--", "x"], "--size is of the"),
        (["--models", "kqueue"], "asyncio, uvloop, rloop, blazio, c-epoll, c-uring"),
        (
            ["--http", "http://127.0.0.1:1/", "--models", "uvloop", "--", "x"],
            "'uvloop' has no part with --http",
        ),
        (
            ["--http", "http://127.0.0.1:1/", "--models", "c-uring", "--", "x"],
            "'c-uring' has no part with --http",
        ),
        (
            ["--http", "http://127.0.0.1:1/", "--models", "raw:threads", "--", "x"],
            "'raw:threads' has no part with --http",
        ),
        (
            ["--http", "http://127.0.0.1:1/", "--models", "kqueue", "--", "x"],
            "unknown model 'kqueue'; known: blocking",
        ),
        (["--json", "x", "--html", "./x"], "--json and --html are the same file: './x'"),
        (["--json", "-", "--html", "-"], "only one of them fits standard output"),
    ],
)
def test_compare_names_a_bad_argument(argv, words, capsys):
    assert compare.main(argv) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_compare_refuses_a_port_that_is_taken(capsys):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        assert compare.main(["--http", url, "--", "true"]) == 2
    assert "is taken already" in capsys.readouterr().err


def test_compare_shows_help(capsys):
    with pytest.raises(SystemExit) as ended:
        compare.main(["--help"])
    assert ended.value.code == 0
    assert "--busy" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["rich", "hdrh"])
def test_compare_names_the_extra_that_is_missing(missing, monkeypatch, capsys):
    # None in sys.modules is what Python takes for "not there".
    monkeypatch.setitem(sys.modules, missing, None)
    assert compare.main([]) == 2
    assert capsys.readouterr().err.strip().endswith("pip install 'headrace[lab]'")


def test_options_split_the_command_at_the_first_dashes():
    found = options.parse(["--http", "http://h/", "--busy", "3", "--", "run", "--", "--busy", "x"])
    assert found.command == ("run", "--", "--busy", "x")
    assert (found.busy, found.idle) == (3, 0)


def test_options_have_the_service_s_defaults_without_http():
    found = options.parse(["--json", "./-"])
    assert (found.mode, found.size, found.idle) == ("protocol", 1024, 500)
    assert found.json == "./-"  # a file of that name, unlike "-"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("python app.py --port 80",), ("/bin/sh", "-c", "python app.py --port 80")),
        (("python", "my app.py"), ("python", "my app.py")),
        (("./app",), ("./app",)),
    ],
)
def test_command_of_a_single_line_is_the_shell_s(command, words):
    assert contenders.command_words(command) == words


def test_command_whose_path_has_blanks_is_a_file(tmp_path):
    path = tmp_path / "my app"
    path.touch()
    assert contenders.command_words([str(path)]) == (str(path),)
