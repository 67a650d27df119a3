"""``headrace run``: which loop a program gets, and what a wrong command line says."""

import asyncio
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import headrace as package
from headrace.activate import ACTIVATION, environment

WHICH_LOOP = """\
import asyncio, headrace
async def main():
    loop = asyncio.get_running_loop()
    print(isinstance(loop, headrace.EventLoop), loop.model)
"""
AVAILABLE = [model.name for model in package.models() if model.available]
UNAVAILABLE = [model.name for model in package.models() if not model.available]


def test_run_gives_asyncio_run_a_headrace_loop(headrace):
    program = WHICH_LOOP + "asyncio.run(main()); asyncio.run(main())"
    outcome = headrace("run", "--model", "epoll", "-c", program)
    assert outcome.stderr == ""
    assert outcome.stdout == "True epoll\n" * 2


@pytest.mark.parametrize("model", AVAILABLE)
def test_run_gives_the_model_that_is_asked_for(headrace, model):
    program = WHICH_LOOP + "asyncio.run(main())"
    assert headrace("run", "--model", model, "-c", program).stdout == f"True {model}\n"
    assert headrace("run", f"--model={model}", "-c", program).stdout == f"True {model}\n"
    assert headrace("run", "-c", program, HEADRACE_MODEL=model).stdout == f"True {model}\n"


@pytest.mark.parametrize(
    "statement",
    [
        "asyncio.Runner().run(main())",
        "asyncio.new_event_loop().run_until_complete(main())",
        "asyncio.get_event_loop_policy().new_event_loop().run_until_complete(main())",
        "asyncio.get_event_loop_policy().get_event_loop().run_until_complete(main())",
        "asyncio.SelectorEventLoop().run_until_complete(main())",
        "asyncio.Runner(loop_factory=asyncio.SelectorEventLoop).run(main())",
        "asyncio.set_event_loop_policy(None); asyncio.run(main())",
        "asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy()); asyncio.run(main())",
    ],
)
def test_run_makes_headrace_the_default_of(headrace, statement):
    outcome = headrace("run", "--model", "epoll", "-c", WHICH_LOOP + statement)
    assert outcome.stdout == "True epoll\n", outcome.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "assert isinstance(asyncio.new_event_loop(), asyncio.SelectorEventLoop)",
        "asyncio.SelectorEventLoop(selectors.PollSelector())._selector.register",
        "class Mine(asyncio.SelectorEventLoop): pass\nMine()._selector.register",
        "class Mine(asyncio.DefaultEventLoopPolicy):\n"
        " def _loop_factory(self): return asyncio.unix_events.SelectorEventLoop()\n"
        "asyncio.set_event_loop_policy(Mine())\n"
        "assert not isinstance(asyncio.new_event_loop(), headrace.EventLoop)",
    ],
    ids=["isinstance", "selector", "subclass", "policy"],
)
def test_run_leaves_a_program_what_it_takes_explicitly(headrace, statement):
    program = f"import asyncio, headrace, selectors\n{statement}\n"
    outcome = headrace("run", "-c", program)
    assert outcome.returncode == 0, outcome.stderr


def test_run_leaves_a_program_its_uvloop(headrace):
    pytest.importorskip("uvloop")
    program = (
        "import asyncio, uvloop\n"
        "asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())\n"
        "async def main(): print(type(asyncio.get_running_loop()).__module__)\n"
        "asyncio.run(main())\nuvloop.run(main())\n"
    )
    assert headrace("run", "-c", program).stdout == "uvloop\nuvloop\n"


def test_run_works_when_the_program_imports_headrace_first(headrace):
    program = (
        "import headrace, asyncio\nprint(isinstance(asyncio.new_event_loop(), headrace.EventLoop))"
    )
    assert headrace("run", "-c", program).stdout == "True\n"


@pytest.mark.parametrize("import_it", ["import asyncio", "from asyncio import events"])
def test_run_works_when_the_program_looks_for_asyncio_before_it_imports_it(headrace, import_it):
    program = (
        "import importlib.util, sys\n"
        "first, second = (importlib.util.find_spec('asyncio') for _ in range(2))\n"
        "assert first.origin == second.origin and 'asyncio' not in sys.modules\n"
        f"{import_it}\n"
        "import asyncio, headrace\n"
        "print(isinstance(asyncio.new_event_loop(), headrace.EventLoop))\n"
        "print([finder for finder in sys.meta_path if finder.__class__.__name__ == 'ImportWatcher'"
        " and finder.name == 'asyncio'])\n"
    )
    outcome = headrace("run", "-c", program)
    assert (outcome.stderr, outcome.stdout) == ("", "True\n[]\n")


def test_run_works_when_the_first_import_of_asyncio_failed(headrace, folder):
    (folder / "selectors.py").write_text("1 / 0\n")
    program = (
        "import os\n"
        "try:\n    import asyncio\nexcept ZeroDivisionError:\n    os.remove('selectors.py')\n"
        "import importlib; importlib.invalidate_caches()\n"
        "import asyncio, headrace\n"
        "print(isinstance(asyncio.new_event_loop(), headrace.EventLoop))\n"
    )
    outcome = headrace("run", "-c", program, PYTHONDONTWRITEBYTECODE="1")
    assert (outcome.stderr, outcome.stdout) == ("", "True\n")


def test_run_gives_asyncios_interactive_console_a_headrace_loop(headrace):
    lines = "import headrace\nprint(isinstance(asyncio.get_running_loop(), headrace.EventLoop))\n"
    outcome = headrace("run", "-m", "asyncio", stdin=lines)
    assert "True\n" in outcome.stdout, outcome.stderr


def test_run_works_when_asyncio_comes_out_of_an_archive(headrace, folder):
    """All modules of an archive share one loader."""
    library = Path(asyncio.__file__).parent
    with zipfile.ZipFile(folder / "library.zip", "w") as archive:
        for file in library.glob("*.py"):
            archive.write(file, f"asyncio/{file.name}")
        archive.writestr("other.py", "name = __name__\n")
    program = (
        "import importlib.util, sys\n"
        "sys.path.insert(0, 'library.zip')\n"
        "importlib.util.find_spec('asyncio'), importlib.util.find_spec('asyncio')\n"
        "import other; print(other.name)\n"
        "import asyncio, headrace\n"
        "assert 'library.zip' in asyncio.__file__\n"
        "print(isinstance(asyncio.new_event_loop(), headrace.EventLoop))\n"
    )
    outcome = headrace("run", "-c", program)
    assert (outcome.stderr, outcome.stdout) == ("", "other\nTrue\n")


def test_run_imports_neither_asyncio_nor_headrace_for_a_program_that_does_not(headrace):
    program = "import sys; print({'asyncio', 'headrace'} & set(sys.modules))"
    assert headrace("run", "-c", program).stdout == "set()\n"


def test_run_reaches_the_pythons_that_the_program_starts(headrace, folder):
    (folder / "child.py").write_text(WHICH_LOOP + "asyncio.run(main())")
    program = "import subprocess, sys; subprocess.run([sys.executable, 'child.py'])"
    assert headrace("run", "--model", "epoll", "-c", program).stdout == "True epoll\n"


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_run_reaches_multiprocessings_workers(headrace, folder, method):
    (folder / "script.py").write_text(
        WHICH_LOOP + "import multiprocessing\n"
        "def work(): asyncio.run(main())\n"
        "if __name__ == '__main__':\n"
        f"    worker = multiprocessing.get_context('{method}').Process(target=work)\n"
        "    worker.start()\n    worker.join()\n"
    )
    outcome = headrace("run", "--model", "epoll", "script.py")
    assert outcome.stdout == "True epoll\n", outcome.stderr


def test_run_nested_takes_the_inner_model(headrace):
    program = WHICH_LOOP + "asyncio.run(main())"
    words = ["run", "--model", "poll", "-m", "headrace", "run", "--model", "epoll", "-c", program]
    assert headrace(*words).stdout == "True epoll\n"


def test_run_with_an_unknown_model_says_so_in_one_line_that_lists_the_known_ones(headrace):
    outcome = headrace("run", "--model", "kqueue", "missing.py")
    assert outcome.returncode == 2
    assert outcome.stdout == ""
    assert outcome.stderr.count("\n") == 1
    for name in ("kqueue", *AVAILABLE, *UNAVAILABLE):
        assert name in outcome.stderr


def test_run_with_an_unknown_model_in_the_environment_says_so_in_one_line(headrace):
    outcome = headrace("run", "missing.py", HEADRACE_MODEL="kqueue")
    assert outcome.returncode == 2
    assert outcome.stderr.count("\n") == 1
    assert "kqueue" in outcome.stderr
    assert "epoll" in outcome.stderr


# Makes the kernel refuse io_uring to this process and to what it starts, as containers do.
WITHOUT_URING = """\
import ctypes, os, struct, sys
from array import array
libc = ctypes.CDLL(None, use_errno=True)
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ERRNO, ALLOW, IO_URING_SETUP = 0x00050001, 0x7FFF0000, 425
program = b"".join(
    struct.pack("HBBI", *step)
    for step in [(LOAD, 0, 0, 0), (EQUAL, 0, 1, IO_URING_SETUP), (RETURN, 0, 0, ERRNO),
                 (RETURN, 0, 0, ALLOW)]
)
text = ctypes.create_string_buffer(program)
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(text)))
NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 38, 22, 2
assert libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
assert libc.prctl(SET_SECCOMP, FILTER, ctypes.byref(filter), 0, 0) == 0
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def without_uring(*words):
    command = [sys.executable, "-c", WITHOUT_URING, "-m", "headrace", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_run_with_an_unavailable_model_says_why_in_one_line(folder):
    outcome = without_uring("run", "--model", "uring", "missing.py")
    assert outcome.returncode == 2
    assert outcome.stderr == (
        "headrace: io_uring: io_uring_setup: Operation not permitted (blocked by seccomp?)\n"
    )


def test_run_without_a_model_falls_back_to_epoll_in_silence(folder):
    outcome = without_uring("run", "-c", WHICH_LOOP + "asyncio.run(main())")
    assert (outcome.stdout, outcome.stderr) == ("True epoll\n", "")


def test_models_says_why_a_model_is_unavailable(folder):
    outcome = without_uring("models")
    assert "Operation not permitted" in " ".join(outcome.stdout.split())


@pytest.mark.parametrize("flag", ["-I", "-E", "-S"])
def test_run_refuses_a_python_that_ignores_what_it_relies_on(folder, flag):
    # -S leaves out site-packages too: name the folder in which headrace is.
    command = [sys.executable, flag, "-m", "headrace", "run", "-c", "pass"]
    path = str(package.__path__[0]).removesuffix("/headrace")
    outcome = subprocess.run(
        command, env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 2
    assert "-E, -I and -S" in outcome.stderr


def test_run_without_a_program_says_what_is_missing(headrace):
    outcome = headrace("run", "--model", "epoll")
    assert outcome.returncode == 2
    assert "what should run?" in outcome.stderr


@pytest.mark.parametrize(("option", "what"), [("-m", "a module"), ("-c", "a program")])
def test_run_says_in_one_line_what_an_option_lacks(headrace, option, what):
    outcome = headrace("run", "--model", "epoll", option)
    assert outcome.returncode == 2
    assert outcome.stdout == ""
    assert outcome.stderr.count("\n") == 1
    assert outcome.stderr.startswith(f"headrace run: {option} needs ")
    assert what in outcome.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["-u", "script.py"],
        ["--model", "epoll", "-OO", "script.py"],
        ["-W", "error", "-m", "script"],
        ["-Xdev", "--model=epoll", "-c", WHICH_LOOP + "asyncio.run(main())"],
    ],
    ids=lambda words: words[0] + words[1],
)
def test_run_says_where_an_option_of_the_interpreter_goes(headrace, folder, words):
    (folder / "script.py").write_text(WHICH_LOOP + "asyncio.run(main())")
    outcome = headrace("run", *words)
    assert outcome.returncode == 2
    assert outcome.stdout == ""
    said, _, command = outcome.stderr.partition(" is an option of the interpreter: python ")
    assert said.startswith("headrace run: -")
    # And what is said works.
    ended = subprocess.run(
        [sys.executable, *shlex.split(command)], capture_output=True, text=True, check=True
    )
    assert ended.stdout.startswith("True ")


def test_activation_brings_headrace_to_a_python_that_does_not_have_it(folder):
    # -S hides site-packages and with them an installed headrace; what ``site`` would have done with
    # sitecustomize is then done by the program.
    program = (
        "try: import sitecustomize\nexcept ImportError: pass\n"
        "import asyncio; print(type(asyncio.new_event_loop()).__module__)\n"
    )
    outcome = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env=environment("epoll"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.stdout.startswith("headrace"), outcome.stderr


def test_activation_that_cannot_load_headrace_says_so_and_leaves_asyncio_alone(folder):
    package_without_engine = folder / "headrace"
    (package_without_engine / "activation").mkdir(parents=True)
    (package_without_engine / "__init__.py").write_text("import headrace.engine_of_another_python")
    here = Path(ACTIVATION) / "sitecustomize.py"
    (package_without_engine / "activation" / "sitecustomize.py").write_text(here.read_text())
    outcome = subprocess.run(
        [sys.executable, "-c", "import asyncio; print(asyncio.SelectorEventLoop.__module__)"],
        env={"PYTHONPATH": str(package_without_engine / "activation")},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.stdout == "asyncio.unix_events\n"
    assert outcome.stderr.startswith(f"headrace: not active in {sys.executable}: ")
