"""Run a command whose rings count: few of them fit, as for a user who is not root.

    python tests/limit_locked_memory.py BYTES COMMAND [ARGUMENT ...]

RLIMIT_MEMLOCK is set, and CAP_IPC_LOCK, which lifts it, is given up for good: it leaves the
bounding set, so that execve(2) does not bring it back.
"""

import ctypes
import os
import resource
import sys

PR_CAPBSET_DROP = 24
CAP_IPC_LOCK = 14


def has_capability(number: int) -> bool:
    with open("/proc/self/status", encoding="ascii") as file:
        (effective,) = [line.split()[1] for line in file if line.startswith("CapEff:")]
    return bool(int(effective, 16) >> number & 1)


def limit(size_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (size_bytes, size_bytes))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if has_capability(CAP_IPC_LOCK) and prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "CAP_IPC_LOCK cannot be given up here")


if __name__ == "__main__":
    limit(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
