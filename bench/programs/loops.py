"""An event loop by its name, for the programs that are measured.

The programs are started by their path and import nothing of headrace unless its loop is asked for,
so that a peer runs as it would at its users'.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import cast

SETTLING_BYTES = 2**20
LAB = Path(__file__).parents[2] / "src" / "headrace" / "lab"


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    """A module's name, ``headrace:MODEL`` or ``headrace:MODEL:SPIN_US``."""
    if name == "aiofastnet":
        loop = importlib.import_module("uvloop").new_event_loop()
        patched = importlib.import_module("aiofastnet").patch_loop(loop)
        return cast(asyncio.AbstractEventLoop, patched)
    module, *arguments = name.split(":")
    factory = importlib.import_module(module).new_event_loop
    options = {"spin_us": int(arguments[1])} if len(arguments) > 1 else {}
    return cast(asyncio.AbstractEventLoop, factory(*arguments[:1], **options))


def lab_service() -> ModuleType:
    """The lab's service, for its control of a server: by its path, without the package around."""
    spec = importlib.util.spec_from_file_location("lab_service", LAB / "service.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def settle_allocator() -> None:
    """Puts glibc's allocator into the state that a process which has run for a while is in.

    It maps blocks of 128 KiB and more one by one, until the program has freed a larger one: from
    then on blocks up to that size come from the heap.  asyncio, rloop and aiofastnet receive into
    new blocks of 256 KiB and shrink them, which costs three system calls and page faults each time
    until then, 10 us per request.  Whether an import has freed such a block before is luck, so the
    figures of the same program would be one of two, by the version of some package.  This is the
    better one for all.
    """
    block = bytearray(SETTLING_BYTES)
    del block
