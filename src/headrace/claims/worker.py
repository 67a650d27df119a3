"""One experiment in a process of its own: limits, signals, threads and memory end with it.

    python -m headrace.claims.worker NAME SCALE

writes what it found as one line of JSON. Whatever goes wrong in an experiment is its finding, too.
"""

from __future__ import annotations

import json
import sys
import traceback
from dataclasses import asdict

from headrace.claims.catalogue import CLAIMS
from headrace.claims.claim import FAILED, SCALES, UNDECIDED, Experiment, Finding, Scale
from headrace.claims.sources import NotDecidableError


def main(words: list[str]) -> int:
    name, scale = words
    json.dump(asdict(find(CLAIMS[name].experiment, SCALES[scale])), sys.stdout)
    return 0


def find(experiment: Experiment, scale: Scale) -> Finding:
    try:
        return experiment(scale)
    except NotDecidableError as error:
        return Finding(UNDECIDED, str(error))
    except Exception as error:
        if isinstance(error, FileNotFoundError) and str(error.filename).startswith("/proc/"):
            return Finding(UNDECIDED, f"this kernel has no {error.filename}")
        traceback.print_exc()
        first_line = (str(error).splitlines() or [""])[:1]
        return Finding(FAILED, ": ".join(filter(None, [type(error).__name__, *first_line])))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
