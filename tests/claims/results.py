"""Results that are made up, for the table and the page."""

from dataclasses import replace
from typing import Any

from headrace.claims.catalogue import CLAIMS
from headrace.claims.claim import Curve, Finding
from headrace.claims.report import build_report
from headrace.claims.run import Result

MACHINE = {
    "cpu": "a processor", "cores_allowed": 2, "memory_bytes": 2**30, "kernel": "6", "python": "3",
}  # fmt: skip


def a_result(
    name: str, verdict: str, number: str = "7 bytes", *, curve: Curve | None = None, **more: Any
) -> Result:
    return Result(replace(CLAIMS[name], **more), Finding(verdict, number, {}, curve), 1.0)


def a_report(*results: Result, interrupted: bool = False) -> dict[str, Any]:
    return build_report(results, "quick", MACHINE, {"headrace": "0"}, interrupted=interrupted)
