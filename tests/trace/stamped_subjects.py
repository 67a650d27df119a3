"""A plugin of pytest's: the conformance suite runs on models that keep stamps.

pytest -p stamped_subjects tests/conformance, with this folder on PYTHONPATH.
"""

import sys
from pathlib import Path

import headrace
from headrace.models.registry import make_model
from headrace.trace.stamping import Stamps, stamped

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))

import subjects


def make(name):
    return stamped(make_model(name), Stamps())


subjects.REAL[:] = [
    subjects.of_model(f"stamped-{info.name}", lambda name=info.name: make(name))
    for info in headrace.models()
    if info.available
]
