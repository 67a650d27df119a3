"""What a task waits for where native code wakes it: a future without a result.

To wait for an asyncio.Future costs as much as all the rest of a small read: it is made through a
dictionary of keywords, asks its loop whether that is in debug mode, and when it is done it has the
loop make a handle for it.  A Waiter comes from a recycler, and stands in the ready queue itself.

A task takes anything for a future that has `_asyncio_future_blocking`, get_loop(),
add_done_callback() and cancel(); tasks in C and in Python keep to that.  All else that a Future has
and that one may look for in a task's `_fut_waiter` is here as well, and isinstance() says Future.

Decisions.
* A C task's wake-up asks what it is called with for its result: by a look into an exact Future, by
  an attribute and a call else.  It does not ask whether that is what it has waited for, so where
  all is well it is called with one Future that has been done all the time.
* A bound method costs more to make and to free than what it does.  get_loop and add_done_callback
  are properties, whose values are two words from a freelist, called by vectorcall.
* Order is asyncio's: who is woken runs in the next turn, by the same queue.

In debug mode, and where somebody has put a create_future() or a call_soon() in the place of ours,
nothing of this is used: see Scheduling.waits_natively().
"""

import asyncio
from asyncio import base_futures, futures

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.string cimport strcmp

from headrace.core.handle cimport make_handle
from headrace.core.ready_queue cimport Runnable, ready_push
from headrace.core.recycler cimport (
    PyTypeObject, Recycler, recycle, recycler_allocate, recycler_free,
)
from headrace.loop.scheduling cimport Scheduling

cdef extern from "Python.h":
    ctypedef struct PyMethodDef:
        const char *ml_name
    ctypedef struct PyCFunctionObject:
        PyMethodDef *m_ml
    ctypedef struct CallableType "PyTypeObject":
        Py_ssize_t tp_vectorcall_offset
        unsigned long tp_flags
        PyObject *(*tp_call)(PyObject *, PyObject *, PyObject *) noexcept
    unsigned long Py_TPFLAGS_HAVE_VECTORCALL
    PyObject *PyVectorcall_Call(PyObject *, PyObject *, PyObject *) noexcept
    Py_ssize_t PyVectorcall_NARGS(size_t count) noexcept
    bint PyCFunction_CheckExact(object callable) noexcept
    object PyContext_CopyCurrent()
    # Undeclared as exceptions: an error is handled in fail(), off the fast path.
    PyObject *call_one "PyObject_CallOneArg" (PyObject *callable, PyObject *argument)
    void release "Py_DECREF" (PyObject *reference)
    int enter "PyContext_Enter" (PyObject *context)
    int PyContext_Exit(object context) except -1

cdef str CONTEXT = "context"
cdef tuple STATES = ("PENDING", "FINISHED", "FINISHED", "CANCELLED")


class NoLoop:
    """Of the future that is done all the time: it never asks for more."""

    def get_debug(self):
        return False


cdef object make_done():
    done = futures.Future(loop=NoLoop())
    done.set_result(None)
    return done


cdef object DONE = make_done()


cdef class Waiter(Runnable):
    @property
    def __class__(self):
        return asyncio.Future

    def __repr__(self):
        return base_futures._future_repr(self)

    # What a task asks.

    @property
    def _asyncio_future_blocking(self):
        return self.is_asked

    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, bint value):
        self.is_asked = value

    @property
    def get_loop(self):
        return method_of(self, answer_loop)

    @property
    def add_done_callback(self):
        return method_of(self, take_callback)

    def cancel(self, msg=None):
        if self.state != WAITS:
            return False
        self.end(CANCELLED, msg)
        return True

    # What others may ask.

    @property
    def _loop(self):
        return self.loop

    @property
    def _state(self):
        return STATES[self.state]

    @property
    def _callbacks(self):
        if self.state != WAITS:
            return None  # they are on their way
        first = [] if self.callback is None else [(self.callback, self.context)]
        return first + (self.others or []) or None

    @property
    def _result(self):
        return None

    @property
    def _exception(self):
        return self.error if self.state == FAILED else None

    @property
    def _source_traceback(self):
        return None

    def done(self):
        return self.state != WAITS

    def cancelled(self):
        return self.state == CANCELLED

    def result(self):
        if self.state == WAITS:
            raise asyncio.InvalidStateError("Result is not set.")
        self.raise_outcome()

    def exception(self):
        if self.state == WAITS:
            raise asyncio.InvalidStateError("Exception is not set.")
        if self.state == CANCELLED:
            self.raise_outcome()
        return self._exception

    def set_result(self, result):
        self.refuse_if_done()
        self.finish()

    def set_exception(self, exception):
        self.refuse_if_done()
        # What a Future makes of a class, or of a StopIteration, differs from version to version.
        taken = futures.Future(loop=self.loop)
        taken.set_exception(exception)
        self.end(FAILED, taken.exception())

    def refuse_if_done(self):
        if self.state != WAITS:
            raise asyncio.InvalidStateError(f"{self._state}: {self!r}")

    def remove_done_callback(self, callback):
        removed = 0
        if self.state != WAITS:
            return 0  # as of a Future: they are in the loop
        if self.others is not None:
            kept = [each for each in self.others if each[0] != callback]
            removed = len(self.others) - len(kept)
            self.others = kept or None
        if self.callback is not None and self.callback == callback:
            self.callback = None
            self.context = None
            removed += 1
        return removed

    def __await__(self):
        if self.state == WAITS:
            self.is_asked = True
            yield self
        if self.state == WAITS:
            raise RuntimeError("await wasn't used with future")
        self.raise_outcome()

    __iter__ = __await__

    # Ending.

    cdef bint is_pending(self) noexcept:
        return self.state == WAITS

    cdef int finish(self) except -1:
        """All is well: wake whoever waits.  Nothing happens if it has ended already."""
        return self.end(FINISHED, None) if self.state == WAITS else 0

    cdef int end(self, int state, object error) except -1:
        cdef list others = self.others
        if self.loop._closed and self.callback is not None:
            raise RuntimeError("Event loop is closed")
        self.state = state
        self.error = error
        if self.callback is not None:
            ready_push(self.loop.ready, self, 0, 0)
        if others is not None:
            self.others = None
            for callback, context in others:
                self.schedule(callback, context)
        return 0

    cdef int add(self, object callback, object context) except -1:
        if self.state != WAITS:
            return self.schedule(callback, context)
        if self.callback is None and self.others is None:
            self.callback = callback
            self.context = context
            return 0
        if self.others is None:
            self.others = []
        self.others.append((callback, context))
        return 0

    cdef int schedule(self, object callback, object context) except -1:
        self.loop.call_soon(callback, self, context=context)
        return 0

    cdef int raise_outcome(self) except -1:
        if self.state == FAILED:
            raise self.error
        if self.state == CANCELLED:
            raise asyncio.CancelledError() if self.error is None else (
                asyncio.CancelledError(self.error)
            )
        return 0

    # The loop's turn: the callback's.

    cdef int run(self, int result, unsigned int flags) except -1:
        cdef PyObject *answer
        cdef object argument = self
        # References of our own, and the only ones: a task that has come up waits no more.
        cdef object callback = self.callback
        cdef object context = self.context
        self.callback = None
        self.context = None
        if callback is None:
            return 0  # the garbage collector has been here
        if self.state == FINISHED and is_wake_up(callback):
            argument = DONE
        if enter(<PyObject *>context) < 0:
            return self.fail(callback, context, False)
        answer = call_one(<PyObject *>callback, <PyObject *>argument)
        if answer == NULL:
            return self.fail(callback, context, True)
        release(answer)
        PyContext_Exit(context)
        return 0

    cdef int fail(self, object callback, object context, bint entered) except -1:
        """The callback has raised, or could not be called: tell the exception handler."""
        try:
            try:
                raise_pending()
            finally:
                if entered:
                    PyContext_Exit(context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            # As asyncio, where a handle has called it.
            return make_handle(self.loop, callback, (self,), context).report_failure()
        return 0


cdef int raise_pending() except -1:
    """Let the error that a C call has set come up as an exception."""
    return -1


cdef Waiter make_waiter(Scheduling loop):
    cdef Waiter waiter = Waiter.__new__(Waiter)
    waiter.loop = loop
    return waiter


# The wake-up of C tasks, known by its name at first and by its address from then on.
cdef PyMethodDef *wake_up = NULL


cdef bint is_wake_up(object callback) noexcept:
    global wake_up
    cdef PyMethodDef *definition
    if not PyCFunction_CheckExact(callback):
        return False
    definition = (<PyCFunctionObject *><PyObject *>callback).m_ml
    if definition == wake_up:
        return True
    if wake_up == NULL and strcmp(definition.ml_name, "task_wakeup") == 0:
        wake_up = definition
    return definition == wake_up


@cython.final
@cython.freelist(16)
@cython.no_gc
cdef class WaiterMethod:
    """A waiter's method, bound to it; nobody keeps it."""


cdef object method_of(Waiter waiter, vectorcallfunc function):
    cdef WaiterMethod method = WaiterMethod.__new__(WaiterMethod)
    method.function = function
    method.waiter = waiter
    return method


cdef PyObject *answer_loop(
    PyObject *target, PyObject **values, size_t count, PyObject *names
) except NULL:
    cdef Scheduling loop = (<WaiterMethod>target).waiter.loop
    if PyVectorcall_NARGS(count) or names != NULL:
        raise TypeError("get_loop() takes no arguments")
    Py_INCREF(loop)
    return <PyObject *>loop


cdef PyObject *take_callback(
    PyObject *target, PyObject **values, size_t count, PyObject *names
) except NULL:
    cdef object context
    if PyVectorcall_NARGS(count) != 1:
        raise TypeError("add_done_callback() takes one argument, and the keyword context")
    if names == NULL or len(<tuple>names) == 0:
        context = PyContext_CopyCurrent()
    elif len(<tuple>names) == 1 and (<tuple>names)[0] == CONTEXT:
        context = <object>values[1]
        if context is None:
            context = PyContext_CopyCurrent()
    else:
        raise TypeError("add_done_callback() takes no keyword but context")
    (<WaiterMethod>target).waiter.add(<object>values[0], context)
    Py_INCREF(None)
    return <PyObject *>None


cdef int make_callable(type kind) except -1:
    """Cython has no special method for vectorcall: its slots are filled here by hand."""
    cdef CallableType *slots = <CallableType *>kind
    cdef WaiterMethod method = WaiterMethod.__new__(WaiterMethod)
    slots.tp_vectorcall_offset = <char *>&method.function - <char *><PyObject *>method
    slots.tp_call = PyVectorcall_Call
    slots.tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL
    return 0


make_callable(WaiterMethod)

cdef Recycler waiters


cdef PyObject *allocate_waiter(PyTypeObject *type, Py_ssize_t count) noexcept:
    return recycler_allocate(&waiters, type, count)


cdef void free_waiter(void *memory) noexcept:
    recycler_free(&waiters, memory)


recycle(&waiters, Waiter, allocate_waiter, free_waiter)
