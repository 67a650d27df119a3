"""How many descriptors a model can watch, and which kinds: found out by reaching the limit."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import select
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.claims import verdicts
from headrace.claims.claim import DEPENDS, HOLDS, REFUTED, UNDECIDED, Finding, Scale, claim
from headrace.claims.native import (
    DESCRIPTORS_IN_SET,
    DescriptorSet,
    TimeValue,
    error_of,
    libc,
    poll_entries,
)
from headrace.claims.sources import (
    SPARE,
    NotDecidableError,
    descriptors_granted,
    ready_descriptor,
)

GROUP = "What can be watched"
PER_GIBIBYTE = (70_000, 130_000)
"""What "about 100,000" may be."""
WITHOUT_LIMIT = 1 << 60
OPENING = "open files"


@claim(
    "select-limit", 3,
    sentence="select支持的文件描述符数量太小了，默认是1024",
    english="select supports too few descriptors, 1,024 by default",
    reading="The size of C's fd_set, and Python refuses what does not fit. The kernel itself"
    " takes more bits when it is told of them, which no portable program may do.",
)  # fmt: skip
def select_limit(scale: Scale) -> Finding:
    most = 2 * DESCRIPTORS_IN_SET
    if descriptors_granted(most) < most:
        raise NotDecidableError(f"needs {most:,} descriptors; ulimit -Hn is lower")
    with ready_descriptor() as fd:
        copies = {n: fcntl.fcntl(fd, fcntl.F_DUPFD, n) for n in (DESCRIPTORS_IN_SET - 1, most - 1)}
        try:
            highest = max((n for n in copies if watchable(copies[n])), default=0)
            raw = DescriptorSet([copies[most - 1]], most)
            kernel = libc.select(
                most, ctypes.byref(raw.words), None, None, ctypes.byref(TimeValue())
            )
        finally:
            for copy in copies.values():
                os.close(copy)
    number = (
        f"{highest:,} is watched, {most - 1:,} refused; the kernel itself answers {kernel} for it"
    )
    return Finding(
        verdicts.counted(highest == DESCRIPTORS_IN_SET - 1), number, {"highest": highest}
    )


def watchable(fd: int) -> bool:
    try:
        return select.select([fd], [], [], 0)[0] == [fd]
    except ValueError:  # filedescriptor out of range
        return False


@claim(
    "poll-unlimited", 1, 3,
    sentence="没有最大连接数的限制，原因是它是基于链表来存储的",
    english="poll has no limit of connections, because it stores them in a linked list",
    reading="No limit of 1,024, but one there is: more entries than RLIMIT_NOFILE are EINVAL. The"
    " program passes an array; how the kernel keeps its copy is not what sets the limit.",
)  # fmt: skip
def poll_unlimited(scale: Scale) -> Finding:
    limit = 3 * DESCRIPTORS_IN_SET
    if descriptors_granted(limit) < limit:
        raise NotDecidableError(f"needs {limit:,} descriptors; ulimit -Hn is lower")
    # A limit of its own, because one entry more than the limit has to be passed.
    with soft_limit(limit), ready_descriptor() as fd:
        entries = poll_entries([fd] * (limit + 1))
        within = libc.poll(entries, limit, 0)
        beyond = error_of(libc.poll(entries, limit + 1, 0))
    number = f"{within:,} entries at once; one more than ulimit -n: {beyond or 'taken as well'}"
    verdict = DEPENDS if beyond else HOLDS
    return Finding(verdict if within > DESCRIPTORS_IN_SET else REFUTED, number, {"entries": within})


@claim(
    "epoll-limit", 3,
    sentence="epoll没有这个限制，它所支持的FD上限是最大可以打开文件的数目",
    english="epoll has no such limit: as many descriptors as files can be open",
    reading="Descriptors are opened and registered until the system refuses to open one more, or"
    " epoll to watch it. (/proc/sys/fs/epoll/max_user_watches is a limit too, ENOSPC: a far one"
    " unless somebody has lowered it.)",
)  # fmt: skip
def epoll_limit(scale: Scale) -> Finding:
    descriptors_granted(scale.descriptors)
    # No more than that, where the limit is a million.
    limit = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], scale.descriptors + SPARE)
    with (
        soft_limit(limit),
        ready_descriptor() as ready,
        select.epoll() as poller,
        closing() as opened,
    ):
        registered, who, refused = register_until_refused(poller, ready, opened)
    number = f"{registered:,} registered at ulimit -n {limit:,}; then {who}: {os.strerror(refused)}"
    figures = {"registered": registered, "limit": limit}
    if (who, refused) == (OPENING, errno.ENFILE):
        return Finding(UNDECIDED, number, figures)  # the whole system's limit came before ours
    is_so = who == OPENING and limit - registered < SPARE
    return Finding(verdicts.counted(is_so), number, figures)


def register_until_refused(
    poller: select.epoll, ready: int, opened: list[int]
) -> tuple[int, str, int]:
    """How many copies of a descriptor epoll has taken, who refused the next one, and its errno."""
    registered = 0
    while True:
        try:
            opened.append(os.dup(ready))
        except OSError as error:
            return registered, OPENING, error.errno or 0
        try:
            poller.register(opened[-1], select.EPOLLIN)
        except OSError as error:
            return registered, "epoll_ctl", error.errno or 0
        registered += 1


@contextmanager
def soft_limit(limit: int) -> Iterator[None]:
    """So many open files and no more, for this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def closing() -> Iterator[list[int]]:
    """A list whose descriptors are closed at the end."""
    opened: list[int] = []
    try:
        yield opened
    finally:
        for fd in opened:
            os.close(fd)


@claim(
    "file-max-memory", 3,
    sentence="在1GB内存的机器上大约是10万左右，具体数目可以cat /proc/sys/fs/file-max察看",
    english="About 100,000 with 1 GB of memory; see /proc/sys/fs/file-max",
    reading="The kernel's own default is a file for each 10 KiB. It is all processes' together,"
    " and many systems raise it without limit; what a process meets first is ulimit -n.",
)  # fmt: skip
def file_max_memory(scale: Scale) -> Finding:
    most = int(Path("/proc/sys/fs/file-max").read_text())
    gibibytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    each = most / gibibytes
    if most > WITHOUT_LIMIT:
        return Finding(REFUTED, f"no limit is set; ulimit -n is {limit:,}", {"ulimit": limit})
    number = f"{each:,.0f} for each GiB, {most:,} in all; ulimit -n is {limit:,}"
    low, high = PER_GIBIBYTE
    return Finding(verdicts.counted(low < each < high), number, {"per_gib": each, "ulimit": limit})


@claim(
    "regular-files", 3,
    sentence="无法检测普通文件操作，即自动读取普通文件，监测文件是否发现变化",
    english="Regular files cannot be watched: neither read when ready nor watched for changes",
    reading="epoll refuses a regular file; select and poll call it ready always, at its end too.",
)  # fmt: skip
def regular_files(scale: Scale) -> Finding:
    with tempfile.TemporaryFile() as file, select.epoll() as poller:
        try:
            poller.register(file, select.EPOLLIN)
            refused = ""
        except PermissionError as error:
            refused = error.strerror or "EPERM"
        always = bool(select.select([file], [], [], 0)[0])
        is_at_end = file.read(1) == b""
    number = f"epoll_ctl: {refused or 'taken'}; select calls an empty file ready: {always}"
    return Finding(verdicts.counted(bool(refused) and always and is_at_end), number)
