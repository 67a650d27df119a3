"""Run classes of CPython's test.test_asyncio on headrace or on stock asyncio.

    python worker.py MODULE.CLASS ...
    python worker.py                  (which classes there are)

Each class runs in a forked child and a folder of its own, bounded: to start an interpreter for each
takes longer than most of them do.  With $HEADRACE_MODEL set (empty for the default model), every
loop that asyncio makes by default is headrace's, and a class that makes the loop it tests
(create_event_loop) makes headrace's.  Without it, stock asyncio's.  Standard output has a line of
JSON for each class, as soon as it has ended:

    {"name": "MODULE.CLASS",
     "outcomes": {"name of test": ["outcome", "traceback or reason"], ...},
     "models": ["the model of each loop that was made", ...],
     "crash": "why there are none of these; empty where there are"}
"""

# ruff: noqa: N802 (the names are unittest's)
from __future__ import annotations

import faulthandler
import gc
import importlib
import importlib.util
import json
import os
import select
import signal
import sys
import tempfile
import unittest
import warnings
from pathlib import Path
from typing import Any

from selection import MODULES, NEEDS_CAPABILITY

# The tests mostly wait; a class that takes longer than this hangs, however busy the machine is.
CLASS_S_MAX = 240
# Its threads say where they are, before.
DUMP_S = 5
ERRORS_CHARS_MAX = 8000


class Outcomes(unittest.TestResult):
    """What became of each test, by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.by_name: dict[str, tuple[str, str]] = {}

    def note(self, test: unittest.TestCase, outcome: str, text: str = "") -> None:
        # A fixture of the class or the module stands in for a test, with a description only.
        name = getattr(test, "_testMethodName", None) or str(test)
        if self.by_name.get(name, ("passed", ""))[0] != "failed":
            self.by_name[name] = (outcome, text)

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.note(test, "passed")

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.note(test, "failed", self._exc_info_to_string(err, test))

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self.note(test, "failed", self._exc_info_to_string(err, test))

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.note(test, "skipped", reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.note(test, "passed", "as CPython expects, it fails")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self.note(test, "failed", "unexpected success")

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self.note(test, "failed", f"{subtest}\n{self._exc_info_to_string(err, test)}")


def put_headrace_below(case: type[unittest.TestCase], made: list[str]) -> None:
    """Every loop of *case*, by asyncio's default or by its own factory, is headrace's.

    The models of the loops go into *made*, one entry for each.
    """
    import headrace
    from headrace import policy

    def new_event_loop(model: str | None = None) -> headrace.EventLoop:
        loop = new_loop_of_headrace(model)
        made.append(loop.model)
        return loop

    new_loop_of_headrace = headrace.new_event_loop
    headrace.new_event_loop = new_event_loop
    policy.make_default()
    if hasattr(case, "create_event_loop"):
        case.create_event_loop = lambda self: new_event_loop()  # type: ignore[attr-defined]


def skip_what_the_model_lacks(case: type[unittest.TestCase], name: str) -> None:
    import headrace

    chosen = next((info for info in headrace.models() if info.default), None)
    for capability, classes_of_it in NEEDS_CAPABILITY.items():
        if chosen is None or chosen.capabilities.get(capability):
            continue
        for test, reason in classes_of_it.get(name, {}).items():
            if hasattr(case, test):
                skip = unittest.skip(f"the model is not {capability}; the test {reason}")
                setattr(case, test, skip(getattr(case, test)))


def run(name: str) -> dict[str, Any]:
    module_name, class_name = name.split(".")
    module = importlib.import_module(f"test.test_asyncio.{module_name}")
    case = getattr(module, class_name)
    models: list[str] = []
    if "HEADRACE_MODEL" in os.environ:
        put_headrace_below(case, models)
        skip_what_the_model_lacks(case, name)
    outcomes = Outcomes()
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    unittest.TestSuite([suite]).run(outcomes)
    return {"outcomes": outcomes.by_name, "models": models}


def run_apart(name: str) -> dict[str, Any]:
    """run(), in a child that may hang or die."""
    # The tests write temporary files where they stand, which a killed one leaves behind.
    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if child == 0:
            be_the_child(name, folder)
        crash = wait_for(child)
        try:
            answer = {"crash": "", **json.loads(Path(folder, "answer").read_text())}
        except (OSError, ValueError):
            answer = {"outcomes": {}, "models": [], "crash": crash or "says nothing"}
            answer["crash"] += "\n" + Path(folder, "errors").read_text()[-ERRORS_CHARS_MAX:]
    return {"name": name, **answer}


def be_the_child(name: str, folder: str) -> None:
    """Never returns.  Threads that a failed test left must not keep the process."""
    code = 1
    try:
        os.chdir(folder)
        for path, fd in (("output", 1), ("errors", 2)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), fd)
        faulthandler.dump_traceback_later(CLASS_S_MAX - DUMP_S)
        answer = run(name)
        Path(folder, "answer").write_text(json.dumps(answer))
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    finally:
        os._exit(code)


def wait_for(child: int) -> str:
    """What was wrong with its end."""
    hangs = False
    pidfd = os.pidfd_open(child)
    try:
        hangs = not select.select([pidfd], [], [], CLASS_S_MAX)[0]
    finally:
        os.close(pidfd)
        if hangs:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if hangs:
        return f"hangs: killed after {CLASS_S_MAX} s"
    return f"died, exit code {os.waitstatus_to_exitcode(status)}"


def classes() -> list[str]:
    """MODULE.CLASS of every class with tests, in this interpreter's copy of the suite."""
    found = []
    for module_name in MODULES:
        if importlib.util.find_spec(f"test.test_asyncio.{module_name}") is None:
            continue
        module = importlib.import_module(f"test.test_asyncio.{module_name}")
        for name, case in sorted(vars(module).items()):
            if not isinstance(case, type) or not issubclass(case, unittest.TestCase):
                continue
            if case.__module__ == module.__name__ and is_run_here(case):
                found.append(f"{module_name}.{name}")
    return found


def is_run_here(case: type[unittest.TestCase]) -> bool:
    skipped = getattr(case, "__unittest_skip__", False)
    return not skipped and bool(unittest.defaultTestLoader.getTestCaseNames(case))


def import_before_the_fork(names: list[str]) -> None:
    for module_name in {name.split(".")[0] for name in names}:
        importlib.import_module(f"test.test_asyncio.{module_name}")
    if "HEADRACE_MODEL" in os.environ:
        importlib.import_module("headrace.loop.event_loop")
    # Many tests collect garbage; there is none in what was imported.
    gc.collect()
    gc.freeze()


def main() -> None:
    warnings.simplefilter("default")
    if len(sys.argv) == 1:
        print(json.dumps(classes()))
        return
    import_before_the_fork(sys.argv[1:])
    for name in sys.argv[1:]:
        print(json.dumps(run_apart(name)), flush=True)


if __name__ == "__main__":
    main()
