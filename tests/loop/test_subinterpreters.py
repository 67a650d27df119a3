"""Sub-interpreters are refused, clearly, and the main interpreter is none the worse for it."""

from __future__ import annotations

import json


def test_subinterpreter_is_refused_with_the_reason_and_main_goes_on(run_program):
    ended = run_program("subinterpreter.py")
    assert (ended.returncode, ended.stderr) == (0, "")
    before, main, *after, main_again = json.loads(ended.stdout)
    for refused in [before, *after]:
        assert "headrace runs in the main interpreter only" in refused
    assert main == main_again == "worked"
