"""Handles: a callback that the loop will run, once, in its context.

The shape of asyncio.Handle and asyncio.TimerHandle, to which ``isinstance`` says yes, without
being subclasses of them: their __slots__ cannot be joined with a native base.
"""

import asyncio
from asyncio import format_helpers

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF

from headrace.core.recycler cimport (
    PyTypeObject, Recycler, recycle, recycler_allocate, recycler_free,
)
from headrace.core.timer_heap cimport Timer

cdef extern from "Python.h":
    # Undeclared as exceptions: an error is handled in report_failure(), off the fast path.
    PyObject *call_none "PyObject_CallNoArgs" (PyObject *callable)
    PyObject *call_one "PyObject_CallOneArg" (PyObject *callable, PyObject *argument)
    PyObject *call_all "PyObject_Call" (
        PyObject *callable, PyObject *arguments, PyObject *keywords
    )
    void release "Py_DECREF" (PyObject *reference)
    int enter "PyContext_Enter" (PyObject *context)
    object PyContext_CopyCurrent()
    int PyContext_Exit(object context) except -1
    tuple PyTuple_New(Py_ssize_t size)
    void PyTuple_SET_ITEM(object items, Py_ssize_t position, object item)


# Since Python 3.13 asyncio shows a callback's arguments in debug mode only: they may be secret.
cdef bint KNOWS_DEBUG = "debug" in (format_helpers._format_callback_source.__kwdefaults__ or ())


cdef int raise_pending() except -1:
    """Let the error that a C call has set come up as an exception."""
    return -1


cdef Handle make_handle(object loop, object callback, tuple arguments, object context):
    cdef Handle handle = Handle.__new__(Handle)
    handle.loop = loop
    handle.in_debug = loop.get_debug()
    handle.callback = callback
    handle.arguments = arguments
    handle.argument_count = len(arguments)
    if handle.argument_count == 1:
        handle.argument = arguments[0]
    handle.context = PyContext_CopyCurrent() if context is None else context
    return handle


cdef class Handle(Timer):
    def __init__(self, callback, args, loop, context=None):
        self.loop = loop
        self.in_debug = loop.get_debug()
        self.callback = callback
        self.arguments = tuple(args)
        self.argument_count = len(self.arguments)
        if self.argument_count == 1:
            self.argument = self.arguments[0]
        self.context = PyContext_CopyCurrent() if context is None else context

    cdef int fill(
        self, object loop, PyObject **values, Py_ssize_t count, PyObject *context
    ) except -1:
        """*values* are the callback and its arguments, *count* in all; *context* may be NULL."""
        self.loop = loop
        self.callback = <object>values[0]
        self.argument_count = count - 1
        if count == 2:
            self.argument = <object>values[1]
        elif count > 2:
            self.arguments = tuple_of(values + 1, count - 1)
        self.context = PyContext_CopyCurrent() if context == NULL else <object>context
        return 0

    @property
    def __class__(self):
        return asyncio.Handle

    @property
    def _callback(self):
        return self.callback

    @property
    def _args(self):
        if self.callback is None:
            return None
        if self.arguments is None:
            self.arguments = () if self.argument_count == 0 else (self.argument,)
        return self.arguments

    @property
    def _context(self):
        return self.context

    @property
    def _loop(self):
        return self.loop

    @property
    def _cancelled(self):
        return self.is_cancelled

    def get_context(self):
        return self.context

    def cancelled(self):
        return self.is_cancelled

    def cancel(self):
        if not self.is_cancelled:
            self.is_cancelled = True
            if not self.in_debug:
                # Break cycles and free the callback's world now; debug wants to show it.
                self.callback = None
                self.argument = None
                self.arguments = None

    def _run(self):
        self.run(0, 0)

    def __repr__(self):
        name = "TimerHandle" if isinstance(self, asyncio.TimerHandle) else "Handle"
        parts = [name]
        if self.is_cancelled:
            parts.append("cancelled")
        if isinstance(self, asyncio.TimerHandle):
            parts.append(f"when={self._when}")
        if self.callback is not None:
            parts.append(callback_source(self))
        if self._source_traceback:
            frame = self._source_traceback[-1]
            parts.append(f"created at {frame[0]}:{frame[1]}")
        return f"<{' '.join(parts)}>"

    cdef int run(self, int result, unsigned int flags) except -1:
        cdef PyObject *answer
        # References of our own: the callback may cancel this handle, which lets go of them.
        cdef object context = self.context
        cdef object callback = self.callback
        cdef object arguments
        if self.is_cancelled:
            return 0
        if enter(<PyObject *>context) < 0:
            return self.fail_to_enter()
        if self.argument_count == 0:
            answer = call_none(<PyObject *>callback)
        elif self.argument_count == 1:
            arguments = self.argument
            answer = call_one(<PyObject *>callback, <PyObject *>arguments)
        else:
            arguments = self.arguments
            answer = call_all(<PyObject *>callback, <PyObject *>arguments, NULL)
        if answer == NULL:
            return self.fail(context)
        release(answer)
        PyContext_Exit(context)
        return 0

    cdef int fail_to_enter(self) except -1:
        """Somebody is in the handle's context already, or it is none."""
        try:
            raise_pending()
        except (RuntimeError, TypeError):
            return self.report_failure()
        return 0

    cdef int fail(self, object context) except -1:
        """The callback has raised; leave its context, then tell the loop's exception handler."""
        try:
            try:
                raise_pending()
            finally:
                PyContext_Exit(context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            return self.report_failure()
        return 0

    cdef int report_failure(self) except -1:
        """Called while the exception is being handled."""
        import sys

        report = {
            "message": f"Exception in callback {callback_source(self)}",
            "exception": sys.exc_info()[1],
            "handle": self,
        }
        if self._source_traceback:
            report["source_traceback"] = self._source_traceback
        self.loop.call_exception_handler(report)
        return 0


cdef object callback_source(Handle handle):
    """The callback in asyncio's words: its name, its arguments, where it stands."""
    options = {"debug": handle.loop.get_debug()} if KNOWS_DEBUG else {}
    return format_helpers._format_callback_source(handle.callback, handle._args, **options)


cdef tuple tuple_of(PyObject **values, Py_ssize_t count):
    cdef Py_ssize_t index
    cdef object item
    items = PyTuple_New(count)
    for index in range(count):
        item = <object>values[index]
        Py_INCREF(item)  # which PyTuple_SET_ITEM takes
        PyTuple_SET_ITEM(items, index, item)
    return items


cdef class TimerHandle(Handle):
    def __init__(self, when, callback, args, loop, context=None):
        Handle.__init__(self, callback, args, loop, context)
        self.given = when

    @property
    def _when(self):
        return self.when_s if self.given is None else self.given

    @property
    def __class__(self):
        return asyncio.TimerHandle

    @property
    def _scheduled(self):
        return self.position >= 0

    def when(self):
        return self._when

    def cancel(self):
        if not self.is_cancelled and self.heap is not None:
            self.heap.remove(self)
        Handle.cancel(self)

    def __hash__(self):
        return hash(self._when)

    def __lt__(self, other):
        return self._when < other._when

    def __le__(self, other):
        return self._when <= other._when

    def __gt__(self, other):
        return self._when > other._when

    def __ge__(self, other):
        return self._when >= other._when

    def __eq__(self, other):
        if isinstance(other, asyncio.TimerHandle):
            return (
                self._when == other._when
                and self._callback == other._callback
                and self._args == other._args
                and self._cancelled == other._cancelled
            )
        return NotImplemented


cdef Recycler handles
cdef Recycler timer_handles


cdef PyObject *allocate_handle(PyTypeObject *type, Py_ssize_t count) noexcept:
    return recycler_allocate(&handles, type, count)


cdef void free_handle(void *memory) noexcept:
    recycler_free(&handles, memory)


cdef PyObject *allocate_timer_handle(PyTypeObject *type, Py_ssize_t count) noexcept:
    return recycler_allocate(&timer_handles, type, count)


cdef void free_timer_handle(void *memory) noexcept:
    recycler_free(&timer_handles, memory)


recycle(&handles, Handle, allocate_handle, free_handle)
recycle(&timer_handles, TimerHandle, allocate_timer_handle, free_timer_handle)
