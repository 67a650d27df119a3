"""Statistics: what a loop and its model have done since they were made.

Counts are kept in one C struct, so that counting is one increment; names appear only when
somebody asks.  System calls are those that the model and its operations make, by name.
"""

from libc.string cimport memset

SYSTEM_CALL_NAMES = (
    "accept4", "connect", "epoll_create1", "epoll_ctl", "epoll_wait", "fcntl", "futex",
    "getsockopt", "io_uring_enter", "io_uring_register", "io_uring_setup", "ioctl", "nanosleep",
    "poll", "ppoll", "pread64", "pselect", "pwrite64", "read", "recv", "recvfrom", "recvmmsg",
    "rt_sigqueueinfo", "rt_sigtimedwait", "sched_yield", "send", "sendfile", "sendto", "write",
)
KIND_NAMES = (
    "accept", "connect", "file_close", "file_link", "file_mkdir", "file_open", "file_read",
    "file_remove", "file_rename", "file_splice", "file_stat", "file_symlink", "file_sync",
    "file_truncate", "file_write", "poll", "read", "receive", "receive_from", "receive_into",
    "send", "send_to", "sendfile", "write",
)
assert len(SYSTEM_CALL_NAMES) == CALL_COUNT
assert len(KIND_NAMES) == KIND_COUNT


cdef class Statistics:
    def __cinit__(self):
        memset(&self.counters, 0, sizeof(Counters))
        self.other_system_calls = {}

    def count_system_call(self, str name, int count=1):
        cdef int index
        if name in SYSTEM_CALL_NAMES:
            index = SYSTEM_CALL_NAMES.index(name)
            self.counters.system_calls[index] += count
        else:
            self.other_system_calls[name] = self.other_system_calls.get(name, 0) + count

    def as_dict(self):
        cdef int index
        calls = {
            SYSTEM_CALL_NAMES[index]: self.counters.system_calls[index]
            for index in range(CALL_COUNT) if self.counters.system_calls[index]
        }
        return {
            "loop_iterations": self.counters.loop_iterations,
            "operations": {
                KIND_NAMES[index]: self.counters.operations[index]
                for index in range(KIND_COUNT) if self.counters.operations[index]
            },
            "system_calls": calls | self.other_system_calls,
            "completions": self.counters.completions,
            "buffer_starvation": self.counters.buffer_starvation,
            "completion_overflows": self.counters.completion_overflows,
            "thread_rotations": self.counters.thread_rotations,
        }

    def __repr__(self):
        return f"<Statistics {self.as_dict()}>"
