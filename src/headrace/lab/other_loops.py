"""Which other event loops a program that is not ours has loaded, looked at from outside.

A program may choose its loop by itself: uvicorn takes uvloop wherever that is installed.  Such a
loop is native code, and the kernel knows which shared objects are mapped.  Mapped is not running,
so this is a doubt and no proof; but what is not mapped does not run.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Collection
from pathlib import Path

OTHER_LOOPS = ("uvloop", "rloop", "blazio")


def other_loops(pids: Collection[int]) -> list[str]:
    """The loops these processes have loaded, each with its version where that is known."""
    found: dict[str, Path] = {}
    for pid in pids:
        for path in mapped_objects(pid):
            # A package's own object, or one that stands beside the packages by itself.
            for name, folder in (
                (path.parent.name, path.parent.parent),
                (module(path), path.parent),
            ):
                if name in OTHER_LOOPS:
                    found.setdefault(name, folder)
    return [f"{name} {version(name, found[name])}".strip() for name in sorted(found)]


def mapped_objects(pid: int) -> set[Path]:
    """The shared objects in a process's memory; none of one that has ended or is another user's."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
        # Address, rights, offset, device, inode and the path, which may have blanks.
        paths = {parts[5] for line in lines if len(parts := line.split(maxsplit=5)) == 6}
        return {Path(path) for path in paths if ".so" in path}
    return set()


def module(path: Path) -> str:
    """``loop`` of ``loop.cpython-311-x86_64-linux-gnu.so``."""
    return path.name.partition(".")[0]


def version(name: str, folder: Path) -> str:
    """That of the package beside which it was found: the program's own, which need not be ours."""
    for one in importlib.metadata.distributions(name=name, path=[str(folder)]):
        return one.version
    return ""
