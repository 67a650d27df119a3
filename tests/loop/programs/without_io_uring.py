"""Deny io_uring to this process, as containers do, and say what headrace makes of it."""

import ctypes
import errno
import json
import struct

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


def instruction(code, if_true, if_false, operand):
    return struct.pack("HBBI", code, if_true, if_false, operand)


def deny_io_uring():
    instructions = [
        instruction(BPF_LD_W_ABS, 0, 0, 0),
        instruction(BPF_JMP_JEQ_K, 0, 1, IO_URING_SETUP),
        instruction(BPF_RET_K, 0, 0, SECCOMP_RET_ERRNO | errno.EPERM),
        instruction(BPF_RET_K, 0, 0, SECCOMP_RET_ALLOW),
    ]
    program = FilterProgram(len(instructions), b"".join(instructions))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program)
    ):
        raise OSError(ctypes.get_errno(), "no seccomp filter can be installed here")


deny_io_uring()
import headrace  # noqa: E402  (the filter must come first)


async def nothing():
    return "ran"


loop = headrace.new_event_loop()
answer = {"model": loop.model, "ran": loop.run_until_complete(nothing())}
loop.close()
try:
    headrace.new_event_loop("uring")
except headrace.ModelUnavailableError as error:
    answer["error"] = str(error)
(info,) = [info for info in headrace.models() if info.name == "uring"]
answer["available"] = info.available
answer["reason"] = info.reason
print(json.dumps(answer))
