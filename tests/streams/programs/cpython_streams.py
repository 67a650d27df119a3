"""CPython's own test_streams, with headrace's readers, writers and protocols in asyncio's places.

    python cpython_streams.py MODEL

One line of JSON: how many tests ran, and which of them failed.
"""

import asyncio
import importlib
import json
import os
import sys
import unittest
from asyncio import streams

import headrace
from headrace import policy

NAMES = (
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "open_connection",
    "open_unix_connection",
    "start_server",
    "start_unix_server",
)


def main(model: str) -> None:
    os.environ["HEADRACE_MODEL"] = model
    policy.make_default()
    for name in NAMES:
        for module in (asyncio, streams):
            setattr(module, name, getattr(headrace, name))
    tests = importlib.import_module("test.test_asyncio.test_streams")
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromModule(tests).run(result)
    failed = {str(test): text for test, text in result.failures + result.errors}
    answer = {"run": result.testsRun, "skipped": len(result.skipped), "failed": failed}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


main(sys.argv[1])
