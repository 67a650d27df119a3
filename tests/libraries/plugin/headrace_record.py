"""A pytest plugin: what became of each test, and on which loops it ran, as lines of JSON.

A line is written when a test begins as well, so that the record of an interpreter that dies says
in which test.  $HEADRACE_RECORD names the file.
"""

import asyncio
import json
import os

import pytest

# The order of severity: a test is what the worst of its phases is.
OUTCOMES = ("passed", "skipped", "failed")


class Record:
    def __init__(self, path):
        self.file = open(path, "w", encoding="utf-8")  # noqa: SIM115
        self.outcome = "passed"
        self.message = ""
        # Loops run between the tests as well, for fixtures of a wider scope.
        self.loops = set()

    def write(self, **line):
        print(json.dumps(line), file=self.file, flush=True)

    def loop_runs(self, loop):
        kind = type(loop)
        model = getattr(loop, "model", None)
        self.loops.add(f"headrace:{model}" if model else f"{kind.__module__}.{kind.__qualname__}")

    def pytest_runtest_logstart(self, nodeid):
        self.outcome, self.message = "passed", ""
        self.loops.clear()
        self.write(test=nodeid)

    def pytest_runtest_logreport(self, report):
        if OUTCOMES.index(report.outcome) > OUTCOMES.index(self.outcome):
            self.outcome = report.outcome
            self.message = message_of(report)

    def pytest_runtest_logfinish(self, nodeid):
        self.write(
            test=nodeid, outcome=self.outcome, message=self.message, loops=sorted(self.loops)
        )

    def pytest_collectreport(self, report):
        if report.failed:
            self.write(test=report.nodeid, outcome="failed", message=str(report.longrepr), loops=[])

    def pytest_sessionfinish(self):
        self.write(finished=True)


def message_of(report):
    """One line: where pytest says it crashed, or the last line of what it says."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr)
    lines = [line for line in text.splitlines() if line.strip()] or [""]
    return lines[0] if crash else lines[-1]


def watch_loops(record):
    """Tell *record* of every loop that runs; headrace's calls asyncio's run_forever() too."""
    stock = asyncio.BaseEventLoop.run_forever

    def run_forever(self):
        record.loop_runs(self)
        stock(self)

    asyncio.BaseEventLoop.run_forever = run_forever


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    # Not in the pytest that a test of a pytest plugin starts, in this process or in another.
    path = os.environ.pop("HEADRACE_RECORD", None)
    if path is not None:
        record = Record(path)
        watch_loops(record)
        config.pluginmanager.register(record, "headrace-record")
