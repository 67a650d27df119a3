"""``headrace run`` against plain Python: exit code and output are the same to the byte."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

WHO_AM_I = """\
import os, sys
print(__name__, __file__, __spec__ and __spec__.name, sys.argv, sys.path, sys.flags)
print(sorted(sys.modules), sys.meta_path[-3:], sys.stdout.line_buffering, sys.warnoptions)
"""
# headrace keeps these, so that the Pythons which a program starts run on headrace too.
OUR_VARIABLES = ("PYTHONPATH", "HEADRACE_MODEL")


@pytest.fixture
def same(python, headrace):
    """Run the same words under both, assert that the outcome is the same, and answer it."""

    def run(*words, **rest):
        expected = python(*words, **rest)
        actual = headrace("run", *words, **rest)
        assert actual.stdout == expected.stdout
        assert actual.stderr == expected.stderr
        assert actual.returncode == expected.returncode
        return expected

    return run


def test_run_gives_a_script_the_same_argv_path_and_modules(same, folder):
    (folder / "below").mkdir()
    (folder / "below" / "script.py").write_text(WHO_AM_I)
    outcome = same("below/script.py", "one", "--model", "two words", "--", "-m", "")
    assert "'--model', 'two words', '--', '-m', ''" in outcome.stdout


def test_run_gives_a_module_the_same_argv_path_and_modules(same, folder):
    (folder / "module.py").write_text(WHO_AM_I)
    assert same("-m", "module", "--help").returncode == 0


def test_run_gives_a_package_the_same_argv_path_and_modules(same, folder):
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").touch()
    (folder / "package" / "__main__.py").write_text(WHO_AM_I)
    assert "package.__main__" in same("-m", "package", "x").stdout


def test_run_runs_a_folder_that_holds_a_main_module(same, folder):
    (folder / "application").mkdir()
    (folder / "application" / "__main__.py").write_text(WHO_AM_I)
    assert same("application", "x").returncode == 0


def test_run_runs_code(same):
    assert same("-c", "import sys; print(sys.argv, sys.path[0])", "x").stdout == "['-c', 'x'] \n"


def test_run_reads_the_program_from_standard_input(same):
    program = "import sys; print(__name__, sys.argv, sys.path[0])"
    assert same("-", "x", stdin=program).stdout == "__main__ ['-', 'x'] \n"


def test_run_hands_standard_input_to_the_program(same, folder):
    (folder / "script.py").write_text("import sys; print(sys.stdin.read().upper())")
    assert same("script.py", stdin="water\nwheel").stdout == "WATER\nWHEEL\n"


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("pass", 0),
        ("sys.exit(0)", 0),
        ("sys.exit(7)", 7),
        ("sys.exit(300)", 44),
        ("sys.exit('a last word')", 1),
        ("raise SystemExit", 0),
        ("os._exit(9)", 9),
        ("1 / 0", 1),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("asyncio.run(exit_from_a_coroutine())", 5),
        ("os.abort()", -signal.SIGABRT),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    ],
)
def test_run_ends_as_the_program_ends(same, folder, statement, code):
    (folder / "script.py").write_text(
        "import asyncio, os, signal, sys\n"
        "async def exit_from_a_coroutine(): sys.exit(5)\n"
        f"print('before', flush=True)\n{statement}\n"
    )
    assert same("script.py").returncode == code


def test_run_reports_a_missing_script_as_python_does(same):
    outcome = same("missing.py")
    assert outcome.returncode == 2
    assert "can't open file" in outcome.stderr


def test_run_reports_a_missing_module_as_python_does(same):
    assert "No module named missing" in same("-m", "missing").stderr


def test_run_reports_a_syntax_error_as_python_does(same, folder):
    (folder / "script.py").write_text("one = 1\ntwo = = 2\n")
    assert "SyntaxError" in same("script.py").stderr


def test_run_prints_tracebacks_as_python_does(same, folder):
    (folder / "helper.py").write_text("def fail():\n    raise LookupError('which?')\n")
    (folder / "script.py").write_text(
        "import helper\n"
        "try:\n    helper.fail()\n"
        "except LookupError as error:\n    raise RuntimeError('no') from error\n"
    )
    assert same("script.py").stderr.count("File") == 3


def test_run_prints_a_misspelt_name_of_asyncio_as_python_does(same, folder):
    (folder / "script.py").write_text("import asyncio\nasyncio.rnu()\n")
    assert "has no attribute 'rnu'" in same("script.py").stderr


def test_run_prints_an_import_of_asyncio_that_fails_as_python_does(same, folder):
    (folder / "selectors.py").write_text("1 / 0\n")
    (folder / "script.py").write_text("import asyncio\n")
    assert "ZeroDivisionError" in same("script.py").stderr


def test_run_lets_a_program_have_an_asyncio_file_of_its_own(same, folder):
    (folder / "asyncio.py").write_text("here = 'mine'\n")
    (folder / "script.py").write_text("import asyncio; print(asyncio.here)\n")
    assert same("script.py").stdout == "mine\n"


def test_run_changes_only_its_two_environment_variables(python, headrace, folder):
    (folder / "script.py").write_text("import json, os; print(json.dumps(dict(os.environ)))")
    null = None  # as JSON writes it
    expected, actual = (
        eval(run.stdout, {"null": null})
        for run in (python("script.py"), headrace("run", "--model", "epoll", "script.py"))
    )
    changed = {name for name in expected | actual if expected.get(name) != actual.get(name)}
    assert changed == set(OUR_VARIABLES)
    assert actual["HEADRACE_MODEL"] == "epoll"


def test_run_keeps_the_users_python_path(same, folder):
    (folder / "library").mkdir()
    (folder / "library" / "found.py").write_text("print('found')\n")
    (folder / "script.py").write_text("import sys, found; print(sys.path)\n")
    assert same("script.py", PYTHONPATH="library:elsewhere").returncode == 0


@pytest.mark.parametrize(
    "text",
    ["print('from the site')\n", "raise ImportError('broken')\n", "1 / 0\n", "import missing\n"],
    ids=["works", "raises ImportError", "raises", "imports what is missing"],
)
def test_activation_runs_the_sitecustomize_that_it_hides(python, activated, folder, text):
    (folder / "site-folder").mkdir()
    (folder / "site-folder" / "sitecustomize.py").write_text(text)
    (folder / "script.py").write_text(
        "import sys; print('sitecustomize' in sys.modules); import sitecustomize; print(1)\n"
    )
    expected = python("script.py", PYTHONPATH="site-folder")
    actual = activated("script.py", PYTHONPATH="site-folder")
    assert (actual.stdout, actual.stderr) == (expected.stdout, expected.stderr)
    assert actual.returncode == expected.returncode


@pytest.mark.parametrize(
    "flags",
    [
        ["-u"], ["-O"], ["-OO", "-B"], ["-X", "dev"], ["-W", "error", "-s"], ["-P"], ["-bb"],
        ["-q"], ["-d"], ["-v"], ["-i"],
    ],
)  # fmt: skip
def test_run_carries_the_interpreters_flags(folder, flags):
    (folder / "script.py").write_text(
        "import sys\nprint(sys.flags, sys.warnoptions, sys._xoptions, sys.stdout.write_through)\n"
    )
    flags = [sys.executable, *flags]
    expected = subprocess.check_output([*flags, "script.py"])
    assert subprocess.check_output([*flags, "-m", "headrace", "run", "script.py"]) == expected


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PYTHONUNBUFFERED", "1"),
        ("PYTHONOPTIMIZE", "2"),
        ("PYTHONDEVMODE", "1"),
        ("PYTHONWARNINGS", "error"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
    ],
)
def test_run_carries_the_interpreters_variables(same, folder, variable, value):
    (folder / "script.py").write_text(
        "import sys\nprint(sys.flags, sys.warnoptions, sys._xoptions, sys.stdout.write_through)\n"
    )
    assert same("script.py", **{variable: value}).returncode == 0


def test_run_carries_a_flag_joined_to_the_module_option(folder):
    (folder / "script.py").write_text("import sys; print(sys.stdout.write_through)")
    command = [sys.executable, "-um", "headrace", "run", "script.py"]
    assert subprocess.check_output(command) == b"True\n"


SLEEPER = """\
import asyncio, signal, sys
async def main():
    if "handle" in sys.argv:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("ready", flush=True)
    await stop.wait()
    print("stopped")
    sys.exit(4)
stop = asyncio.Event()
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("number", "words", "code"),
    [
        (signal.SIGINT, [], -signal.SIGINT),
        (signal.SIGTERM, [], -signal.SIGTERM),
        (signal.SIGTERM, ["handle"], 4),
        (signal.SIGHUP, [], -signal.SIGHUP),
    ],
)
def test_run_is_ended_by_a_signal_as_python_is(folder: Path, started, number, words, code):
    (folder / "script.py").write_text(SLEEPER)
    outcomes = []
    for prefix in ([], ["-m", "headrace", "run"]):
        with started(
            [sys.executable, *prefix, "script.py", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        ) as process:
            assert process.stdout.readline() == "ready\n"
            # To the whole group, as a terminal does at Ctrl-C: there must be nobody else in it.
            os.killpg(process.pid, number)
            output, errors = process.communicate(timeout=30)
        # How the loop waited shows in the traceback of an interrupted program, and may differ.
        outcomes.append((process.returncode, output, errors.splitlines()[-1:]))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] == code


def test_run_is_the_same_process_as_the_program(folder, started):
    with started(
        [sys.executable, "-m", "headrace", "run", "-c", "import os; print(os.getpid())"],
        stdout=subprocess.PIPE,
    ) as process:
        assert int(process.communicate()[0]) == process.pid
