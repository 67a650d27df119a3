"""What is handed to the kernel: how often, and who copies what.

Nothing here is timed. Whether the kernel reads or writes a piece of memory is found out by taking
that memory away, or by looking at it afterwards.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
from collections.abc import Callable
from pathlib import Path

from headrace.claims import verdicts
from headrace.claims.claim import DEPENDS, HOLDS, Finding, Scale, claim
from headrace.claims.native import (
    POLLIN,
    PROT_NONE,
    DescriptorSet,
    EpollEvent,
    PollEntry,
    TimeValue,
    checked,
    error_of,
    libc,
    poll_entries,
)
from headrace.claims.sources import (
    expect,
    forked,
    idle_descriptors,
    pair,
    pairs,
    ready_descriptor,
)

GROUP = "What is handed to the kernel"
BYTES_OF_EVENT = ctypes.sizeof(EpollEvent)
UNTOUCHED = 0xA5


class Page:
    """A page of memory that can be taken away from everybody, the kernel included."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, mmap.PAGESIZE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))

    def take_away(self) -> None:
        checked(libc.mprotect(ctypes.c_void_p(self.address), mmap.PAGESIZE, PROT_NONE), "mprotect")


@claim(
    "poll-copies-always", 3,
    sentence="select，poll每次调用都要把fd集合从用户态往内核态拷贝一次",
    english="Each call of select and poll copies the set from the program to the kernel",
    reading="The set is taken away between two calls: the second fails with EFAULT, so each call"
    " reads the set anew. For 10,000 descriptors that is 80,000 bytes a call with poll.",
)  # fmt: skip
def poll_copies_always(scale: Scale) -> Finding:
    with ready_descriptor() as fd:
        poll_error = second_call(
            PollEntry(fd, POLLIN, 0), lambda at: int(libc.poll(ctypes.c_void_p(at), 1, 0))
        )
        no_time = TimeValue()
        select_error = second_call(
            DescriptorSet([fd]).words,
            lambda at: int(
                libc.select(fd + 1, ctypes.c_void_p(at), None, None, ctypes.byref(no_time))
            ),
        )
    number = f"the second call without its set: poll {poll_error}, select {select_error}"
    return Finding(verdicts.counted(poll_error == select_error == "EFAULT"), number)


def second_call(
    what: ctypes.Structure | ctypes.Array[ctypes.c_ulong], call: Callable[[int], int]
) -> str:
    """What a call answers when its memory has been taken away since the last one."""
    page = Page()
    ctypes.memmove(page.address, ctypes.addressof(what), ctypes.sizeof(what))
    expect(call(page.address), 1)
    page.take_away()
    return error_of(call(page.address)) or "no error"


@claim(
    "epoll-copies-once", 3,
    sentence="epoll只要一次拷贝：每次注册新的事件到epoll句柄中时，会把所有的fd拷贝进内核",
    english="epoll copies once: when a descriptor is registered",
    reading="What was passed to epoll_ctl is taken away afterwards; ten waits answer all the same.",
)  # fmt: skip
def epoll_copies_once(scale: Scale) -> Finding:
    page = Page()
    with ready_descriptor() as fd, select.epoll() as poller:
        event = EpollEvent(select.EPOLLIN, fd)
        ctypes.memmove(page.address, ctypes.byref(event), BYTES_OF_EVENT)
        add = 1  # EPOLL_CTL_ADD
        checked(
            libc.epoll_ctl(poller.fileno(), add, fd, ctypes.c_void_p(page.address)), "epoll_ctl"
        )
        page.take_away()
        answers = sum(poller.poll(0) == [(fd, select.EPOLLIN)] for _ in range(10))
    number = f"1 copy at epoll_ctl, then {answers} of 10 waits right without it"
    return Finding(verdicts.counted(answers == 10), number, {"right": answers})


@claim(
    "epoll-mmap", 1, 3,
    sentence="epoll是通过内核与用户空间mmap同一块内存实现的",
    english="epoll works by one piece of memory that kernel and program have mapped together",
    reading="An epoll descriptor cannot be mapped, using one adds no mapping to the process, and"
    " the kernel holds no page of it. (io_uring is what shares memory.)",
)  # fmt: skip
def epoll_mmap(scale: Scale) -> Finding:
    with idle_descriptors(100) as idle, ready_descriptor() as ready:
        before = mappings()
        with select.epoll() as poller:
            for fd in (*idle, ready):
                poller.register(fd, select.EPOLLIN)
            expect(poller.poll(0), [(ready, select.EPOLLIN)])
            added = [line for line in mappings() if "eventpoll" in line]
            more = len(mappings()) - len(before)
            try:
                mmap.mmap(poller.fileno(), mmap.PAGESIZE)
                refused = ""
            except OSError as error:
                refused = os.strerror(error.errno or 0)
    number = f"mmap of it: {refused or 'possible'}; {len(added)} mappings of epoll in the process"
    is_so = not refused or bool(added)
    return Finding(verdicts.counted(is_so), number, {"mappings_of_epoll": len(added), "new": more})


def mappings() -> list[str]:
    return Path("/proc/self/maps").read_text().splitlines()


@claim(
    "epoll-saves-copying", 3,
    sentence="这里也使用了内存映射（mmap）技术，这样便彻底省掉了这些文件描述符在系统调用时复制的开"
    "销",
    english="By mmap, copying of descriptors at the system call is saved altogether",
    reading="The result is copied: so many bytes of our buffer changed for each ready descriptor,"
    " and without a buffer the call fails. Saved is the copying of those that are idle.",
)  # fmt: skip
def epoll_saves_copying(scale: Scale) -> Finding:
    ready_count = 3
    room = 64
    with pairs(ready_count) as found, idle_descriptors(100) as idle, select.epoll() as poller:
        for ours, theirs in found:
            theirs.send(b"x")
            poller.register(ours, select.EPOLLIN)
        for fd in idle:
            poller.register(fd, select.EPOLLIN)
        buffer = (ctypes.c_ubyte * (room * BYTES_OF_EVENT))(*[UNTOUCHED] * room * BYTES_OF_EVENT)
        answer = libc.epoll_wait(poller.fileno(), ctypes.byref(buffer), room, 0)
        expect(answer, ready_count)
        touched = (at for at, byte in enumerate(buffer) if byte != UNTOUCHED)
        written = max(touched, default=-1) + 1
        each = -(-written // ready_count)
        page = Page()
        page.take_away()
        refused = error_of(libc.epoll_wait(poller.fileno(), ctypes.c_void_p(page.address), room, 0))
    number = (
        f"{each} bytes copied for each ready descriptor, 0 for 100 idle ones; no buffer: {refused}"
    )
    is_saved = each == 0 and not refused
    return Finding(verdicts.counted(is_saved), number, {"bytes_each": each})


@claim(
    "select-overwrites", 3,
    sentence="这些参数既是输入参数也是输出参数，所以每次调用select前都需要重新初始化fdset",
    english="The sets are input and output: they have to be made anew before each select",
    reading="Two descriptors watched, one ready: afterwards the set has lost the other, and a"
    " second call with the same set misses it when it becomes ready.",
)  # fmt: skip
def select_overwrites(scale: Scale) -> Finding:
    with pair() as (first, first_peer), pair() as (second, second_peer):
        watched = DescriptorSet([first.fileno(), second.fileno()])
        count = max(first.fileno(), second.fileno()) + 1
        first_peer.send(b"x")
        no_time = ctypes.byref(TimeValue())
        checked(libc.select(count, ctypes.byref(watched.words), None, None, no_time), "select")
        left = len(watched.members())
        second_peer.send(b"x")
        seen = checked(
            libc.select(count, ctypes.byref(watched.words), None, None, no_time), "select"
        )
    number = f"of 2 watched {left} left in the set; the second call sees {seen} of 2 ready"
    return Finding(verdicts.counted((left, seen) == (1, 1)), number, {"left": left, "seen": seen})


@claim(
    "poll-keeps-set", 3,
    sentence="pollfd中的events字段和revents分别用于标示关注的事件和发生的事件，故pollfd数组只需要"
    "被初始化一次",
    english="pollfd keeps interest and result apart, so that the array is initialised once",
    reading="The same two steps as in select-overwrites, with poll.",
)  # fmt: skip
def poll_keeps_set(scale: Scale) -> Finding:
    with pair() as (first, first_peer), pair() as (second, second_peer):
        entries = poll_entries([first.fileno(), second.fileno()])
        first_peer.send(b"x")
        libc.poll(entries, 2, 0)
        left = sum(entry.events == POLLIN for entry in entries)
        second_peer.send(b"x")
        seen = int(libc.poll(entries, 2, 0))
    number = f"of 2 watched {left} left in the array; the second call sees {seen} of 2 ready"
    return Finding(verdicts.counted((left, seen) == (2, 2)), number, {"left": left, "seen": seen})


@claim(
    "select-timeout", 3,
    sentence="timeout参数为超时时间，该结构会被内核修改，其值为超时剩余的时间",
    english="select's timeout is changed by the kernel to the time that is left",
    reading="10 s allowed, ready after a moment. A Linux habit: other systems leave it alone.",
)  # fmt: skip
def select_timeout(scale: Scale) -> Finding:
    allowed_s = 10
    with pair() as (ours, theirs):

        def send_later() -> None:
            select.select([], [], [], scale.wait_s)
            theirs.send(b"x")

        with forked(send_later):
            left = TimeValue(allowed_s, 0)
            watched = DescriptorSet([ours.fileno()])
            libc.select(
                ours.fileno() + 1, ctypes.byref(watched.words), None, None, ctypes.byref(left)
            )
    left_s = left.seconds + left.microseconds / 1e6
    is_changed = 0 <= left_s <= allowed_s - scale.wait_s / 2
    return Finding(
        verdicts.counted(is_changed),
        f"{left_s:.2f} s of {allowed_s} s are left",
        {"left_s": left_s},
    )


@claim(
    "select-tells-which", 1,
    sentence="仅仅知道有IO事件发生，却并不知道是哪几个流，只能轮询所有流",
    english="select says only that something happened, not where: all streams have to be polled",
    reading="The set that comes back names the ready ones: no recv() is wasted. But finding them"
    " means looking at as many entries as are watched, where epoll's answer has the ready alone.",
)  # fmt: skip
def select_tells_which(scale: Scale) -> Finding:
    ready_count, watched_count = 3, 400
    with pairs(ready_count) as found, idle_descriptors(watched_count - ready_count) as idle:
        for _, theirs in found:
            theirs.send(b"x")
        ready = [ours.fileno() for ours, _ in found]
        named = DescriptorSet([*idle, *ready])
        libc.select(
            max(*idle, *ready) + 1, ctypes.byref(named.words), None, None, ctypes.byref(TimeValue())
        )
        is_named = named.members() == sorted(ready)
    number = (
        f"{ready_count} ready: the answer names these {ready_count}, among {watched_count} entries"
    )
    return Finding(DEPENDS if is_named else HOLDS, number, {"entries": watched_count})


@claim(
    "epoll-names-ready", 3, 1, 4,
    sentence="epoll同样只告知那些就绪的文件描述符",
    english="epoll tells of the ready descriptors alone",
    reading="Length of the answer with 3 ready among 400: epoll_wait's, and poll's array.",
)  # fmt: skip
def epoll_names_ready(scale: Scale) -> Finding:
    ready_count, watched_count = 3, 400
    with pairs(ready_count) as found, idle_descriptors(watched_count - ready_count) as idle:
        ready = [ours.fileno() for ours, _ in found]
        for _, theirs in found:
            theirs.send(b"x")
        with select.epoll() as poller:
            for fd in (*idle, *ready):
                poller.register(fd, select.EPOLLIN)
            answered = len(poller.poll(0))
    number = f"{answered} entries from epoll_wait; poll's array has all {watched_count}"
    return Finding(verdicts.counted(answered == ready_count), number, {"answered": answered})
