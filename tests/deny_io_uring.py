"""Run a command to which the kernel denies io_uring, as containers do.

    python tests/deny_io_uring.py COMMAND [ARGUMENT ...]

A seccomp filter that answers io_uring_setup(2) with EPERM; it stays through execve(2) and fork(2).
"""

import ctypes
import errno
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ALLOW = 0x7FFF0000
SECCOMP_RET_ERRNO = 0x00050000
BPF_LD_W_ABS = 0x20
BPF_JMP_JEQ_K = 0x15
BPF_RET_K = 0x06
# The same number on every architecture.
IO_URING_SETUP = 425


class FilterProgram(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def instruction(code: int, if_true: int, if_false: int, operand: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, operand)


def deny(system_call: int) -> None:
    """Let the call of that number fail with EPERM from now on."""
    instructions = [
        instruction(BPF_LD_W_ABS, 0, 0, 0),
        instruction(BPF_JMP_JEQ_K, 0, 1, system_call),
        instruction(BPF_RET_K, 0, 0, SECCOMP_RET_ERRNO | errno.EPERM),
        instruction(BPF_RET_K, 0, 0, SECCOMP_RET_ALLOW),
    ]
    program = FilterProgram(len(instructions), b"".join(instructions))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program)
    ):
        raise OSError(ctypes.get_errno(), "no seccomp filter can be installed here")


if __name__ == "__main__":
    deny(IO_URING_SETUP)
    os.execvp(sys.argv[1], sys.argv[1:])
