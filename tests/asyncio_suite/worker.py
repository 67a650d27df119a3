"""Run one class of CPython's test.test_asyncio on headrace or on stock asyncio.

    python worker.py MODULE CLASS
    python worker.py                  (which classes there are)

With $HEADRACE_MODEL set (empty for the default model), every loop that asyncio makes by default is
headrace's, and a class that makes the loop it tests (create_event_loop) makes headrace's.  Without
it, stock asyncio's.  The last line on standard output is JSON:

    {"outcomes": {"name of test": ["outcome", "traceback or reason"], ...},
     "models": ["the model of each loop that was made", ...]}
"""

# ruff: noqa: N802 (the names are unittest's)
from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import unittest
import warnings
from typing import Any

from selection import MODULES, NEEDS_CAPABILITY


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


def run(module_name: str, class_name: str) -> dict[str, Any]:
    module = importlib.import_module(f"test.test_asyncio.{module_name}")
    case = getattr(module, class_name)
    models: list[str] = []
    if "HEADRACE_MODEL" in os.environ:
        put_headrace_below(case, models)
        skip_what_the_model_lacks(case, f"{module_name}.{class_name}")
    outcomes = Outcomes()
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    unittest.TestSuite([suite]).run(outcomes)
    return {"outcomes": outcomes.by_name, "models": models}


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


def main() -> None:
    warnings.simplefilter("default")
    answer: Any = run(*sys.argv[1:]) if len(sys.argv) > 1 else classes()
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
    sys.stdout.flush()
    # Threads that a failed test left must not keep the process.
    os._exit(0)


if __name__ == "__main__":
    main()
