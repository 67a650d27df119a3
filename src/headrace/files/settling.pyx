"""An operation on a file, from its start to its end, on whichever loop is running.

Who does it: the loop's own model where it declares `file_operations` and knows this kind, else a
thread of the loop's default executor.  So a file works on every loop of asyncio's interface.

Cancelled.  What has begun cannot be taken back, whoever does it, so a task that is cancelled waits
for the end of its operation (what waits for a peer, as a FIFO does, is not begun until it is ready:
see descriptor.pyx).  When CancelledError is raised nothing is in flight, operation.result says what
has happened, and memory and position are its caller's again.  One exception: the opening of a
file by a thread is left alone, because a FIFO without a peer would hold it for ever; what it opens
is closed.

Fairness.  What the page cache has is read without leaving the task, so a task that reads nothing
else would never let others run.  So after BUDGET_BYTES in a row, by all tasks of the thread, a
task gives way until the loop's next turn.
"""

import asyncio
import os

from headrace.core.file_operation cimport FileOperation
from headrace.core.statistics cimport KIND_FILE_OPEN
from headrace.kernel.errno cimport ECANCELED
from headrace.kernel.time cimport monotonic_seconds
from headrace.models.contract cimport CANCELLED, COMPLETED, Model

# What is read and written within one turn of the loop, each call counted with CALL_BYTES more: some
# 100 us.
BUDGET_BYTES = 1 << 20
CALL_BYTES = 4096
# A call that is served from a buffer counts as so many.
BUFFERED_BYTES = 2048

cdef extern from *:
    """
    /* One loop runs in a thread, so a budget of the thread's is the running loop's. */
    static _Thread_local long headrace_budget_left = 1 << 20;
    static _Thread_local int headrace_refill_is_due = 0;
    static _Thread_local double headrace_refill_asked_s = 0;
    """
    long budget_left "headrace_budget_left"
    bint refill_is_due "headrace_refill_is_due"
    double refill_asked_s "headrace_refill_asked_s"

cdef long BUDGET = BUDGET_BYTES
cdef long CALL_COST = CALL_BYTES
cdef long BUFFERED_COST = BUFFERED_BYTES
# A loop that was stopped before its next turn never refills it: then who comes later asks again.
cdef double REFILL_S = 0.01


cdef bint is_budget_spent(size_t size) noexcept:
    """Count a transfer of *size* bytes; True if it is to be made in the loop's next turn."""
    global budget_left
    if budget_left <= 0:
        return True
    budget_left -= CALL_COST + <long>min(size, <size_t>BUDGET)
    return False


cpdef bint is_turn_over() noexcept:
    """Count a call that is served from a buffer; True if others are to have their turn first."""
    global budget_left
    if budget_left <= 0:
        return True
    budget_left -= BUFFERED_COST
    return False


cpdef object give_way():
    """An awaitable: until the loop's next turn, in which the budget is full again."""
    global refill_is_due, refill_asked_s
    cdef double now = monotonic_seconds()
    if not refill_is_due or now - refill_asked_s > REFILL_S:
        refill_is_due = True
        refill_asked_s = now
        asyncio.get_running_loop().call_soon(refill_budget)
    return asyncio.sleep(0)


def refill_budget():
    """The loop's next turn has begun."""
    global budget_left, refill_is_due
    budget_left = BUDGET
    refill_is_due = False


async def settle(FileOperation operation):
    """Have *operation* done, and wait for its end: its result, which may be a negative errno.

    Raises CancelledError only when it has ended; operation.result stands then, too.
    """
    loop = asyncio.get_running_loop()
    model = model_for(loop, operation.kind)
    if model is None:
        return await settle_by_thread(loop, operation)
    return await settle_by_model(loop, model, operation)


cdef Model model_for(object loop, int kind):
    """The loop's model, if it does such operations itself."""
    model = getattr(loop, "_model", None)
    if not isinstance(model, Model) or not model.capabilities.get("file_operations"):
        return None
    return model if (<Model>model).takes_file(kind) else None


async def settle_by_model(loop, Model model, FileOperation operation):
    interruption = None
    operation.waiter = loop.create_future()
    if model.start(operation) == COMPLETED:
        operation.ended(operation.result)
    while not operation.has_ended:
        try:
            await operation.waiter
        except asyncio.CancelledError as error:
            interruption = error
            operation.waiter = loop.create_future()
            if model.stop(operation) == CANCELLED and not operation.has_ended:
                operation.ended(-ECANCELED)
        except BaseException:
            # The task is gone, or the program ends: it is the model's to end, or to keep.
            operation.waiter = None
            model.stop(operation)
            raise
    if interruption is not None:
        raise interruption
    return operation.take_result()


async def settle_by_thread(loop, FileOperation operation):
    job = loop.run_in_executor(None, operation.work)
    try:
        await job
    except asyncio.CancelledError as error:
        if not operation.has_ended:
            await settle_cancelled(loop, operation)
        raise error
    except BaseException:
        operation.revoke(None)
        raise
    return operation.take_result()


async def settle_cancelled(loop, FileOperation operation):
    """Wait for the thread that has begun it, if one has."""
    operation.waiter = loop.create_future()
    if operation.revoke(loop) or operation.kind == KIND_FILE_OPEN:
        return
    while not operation.has_ended:
        try:
            await operation.waiter
        except asyncio.CancelledError:
            operation.waiter = loop.create_future()


async def do(FileOperation operation, filename=None, other_filename=None):
    """settle(), with the OSError of the call for its result."""
    result = await settle(operation)
    if result < 0:
        raise error_of(-result, filename, other_filename)
    return result


def error_of(error, filename=None, other_filename=None):
    """The OSError of a call, with its filenames."""
    if other_filename is not None:
        return OSError(error, os.strerror(error), filename, None, other_filename)
    if filename is not None:
        return OSError(error, os.strerror(error), filename)
    return OSError(error, os.strerror(error))
