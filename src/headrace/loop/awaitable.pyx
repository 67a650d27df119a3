"""What streams and sock_*() return: awaited like a coroutine, and done at once where it can be.

A coroutine needs a frame, and each one that it awaits another.  Here the common case, the data are
there, is one call from the interpreter's SEND instruction to attempt() and back.  Otherwise
attempt() leaves in `waiting` what the task is to wait for: a Waiter, or anything that can be sent
to, thrown into and closed, such as the iterator of a Future.

It begins when it is awaited and not before, can be awaited once, and has send(), throw() and
close(): so it is a collections.abc.Coroutine, which create_task(), wait_for() and gather() take.
Who drops it without awaiting it is warned, as of a coroutine.

SEND calls the slot am_send in Python 3.11 and tp_iternext from 3.12 on; tasks call am_send in all.
Cython has no special method for the former, and writes a traceback entry for each StopIteration
in the latter, so both slots are filled here by hand.

tp_iternext can only return by a StopIteration, which costs more than a read: since Python 3.12 an
exception is made as soon as it is set.  So one is kept for SEND, which takes its value and drops
it.  It keeps that value until the next one comes, so it is for small values.
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF

from headrace.loop.waiter cimport FINISHED, Waiter

cdef extern from "Python.h":
    ctypedef int (*sendfunc)(PyObject *self, PyObject *value, PyObject **result) except -1
    ctypedef PyObject *(*iternextfunc)(PyObject *self) except? NULL
    ctypedef struct PyAsyncMethods:
        sendfunc am_send
    ctypedef struct PyTypeObject:
        PyAsyncMethods *tp_as_async
        iternextfunc tp_iternext
    enum:
        PYGEN_ERROR
        PYGEN_NEXT
        PYGEN_RETURN
    ctypedef struct PyStopIterationObject:
        PyObject *dict
        PyObject *notes
        PyObject *context
        PyObject *cause
        PyObject *traceback
        PyObject *value
    Py_ssize_t Py_REFCNT(PyObject *instance)
    bint PyBytes_CheckExact(object value)
    Py_ssize_t PyBytes_GET_SIZE(object value)
    # Undeclared as exceptions: what they raise is passed on as it is.
    int PyIter_Send(object target, object value, PyObject **result) noexcept
    void PyErr_SetObject(object kind, object value) noexcept
    int PyErr_WarnEx(object category, const char *message, Py_ssize_t stack_level) except -1

cdef extern from *:
    """
    #if PY_VERSION_HEX >= 0x030C0000
    #define HAS_RAISED_EXCEPTION 1
    #else
    #define HAS_RAISED_EXCEPTION 0
    #define PyErr_SetRaisedException(error) ((void)(error))
    #endif
    """
    bint HAS_RAISED_EXCEPTION
    void PyErr_SetRaisedException(PyObject *error) noexcept  # takes the reference

# The largest value that the kept StopIteration may keep.
cdef Py_ssize_t KEPT_BYTES_MAX = 16 * 1024
cdef object kept_stop = StopIteration()


cdef class Awaitable:
    def __await__(self):
        return self

    def __next__(self):
        return self.send(None)

    def __repr__(self):
        state = "ended" if self.ended else "waiting" if self.waiting is not None else (
            "begun" if self.begun else "not begun"
        )
        return f"<{self.what()} {state}>"

    @property
    def __name__(self):
        return self.what().rpartition(".")[2]

    @property
    def __qualname__(self):
        return self.what()

    def __dealloc__(self):
        if not self.begun and not self.ended:
            message = f"coroutine '{self.what()}' was never awaited".encode()
            PyErr_WarnEx(RuntimeWarning, message, 1)

    cdef str what(self):
        """The method that has returned this."""
        return type(self).__name__

    cdef object attempt(self):
        """The result; or anything, with `waiting` set to what has to be waited for first."""
        raise NotImplementedError(f"{type(self).__name__}.attempt")

    cdef int wait_is_over(self) except -1:
        """What was waited for has come, or failed, or nobody waits for it any more."""
        return 0

    cdef int step(self, object value, PyObject **result) except -2:
        """PYGEN_NEXT with what the task has to wait for, PYGEN_RETURN with the result, or -1.

        -1 and not an exception of Cython's, which would add an entry to the traceback.
        """
        cdef int outcome
        cdef object answer
        result[0] = NULL  # a task takes what is there for a result, also beside an error
        if self.ended:
            raise RuntimeError("cannot reuse already awaited coroutine")
        if not self.begun and value is not None:
            raise TypeError("can't send non-None value to a just-started coroutine")
        while True:
            if self.waiting is not None:
                if type(self.waiting) is Waiter:
                    if (<Waiter>self.waiting).is_pending():
                        return self.ask(result)
                    self.wait_has_ended()
                else:
                    outcome = PyIter_Send(self.waiting, value, result)
                    if outcome == PYGEN_NEXT:
                        return PYGEN_NEXT
                    self.waiting = None
                    self.wait_is_over()
                    if outcome == PYGEN_ERROR:
                        self.ended = True
                        return PYGEN_ERROR
                    Py_DECREF(<object>result[0])
                    result[0] = NULL
            # Unless it waits again; an error is an end, too.
            self.ended = True
            answer = self.attempt()
            self.begun = True
            value = None
            if self.waiting is None:
                Py_INCREF(answer)
                result[0] = <PyObject *>answer
                return PYGEN_RETURN
            self.ended = False

    cdef int ask(self, PyObject **result) except -2:
        """Hand the Waiter to the task, as a Future's iterator does the Future."""
        cdef Waiter waiter = self.waiting
        if waiter.is_asked:
            self.ended = True
            self.waiting = None
            self.wait_is_over()
            raise RuntimeError("await wasn't used with future")
        waiter.is_asked = True
        Py_INCREF(waiter)
        result[0] = <PyObject *>waiter
        return PYGEN_NEXT

    cdef int wait_has_ended(self) except -1:
        """The Waiter has; raises what it has failed with."""
        cdef Waiter waiter = self.waiting
        self.waiting = None
        self.wait_is_over()
        if waiter.state != FINISHED:
            self.ended = True
            waiter.raise_outcome()
        return 0

    def send(self, value):
        cdef PyObject *result = NULL
        cdef object answer
        cdef int outcome = self.step(value, &result)
        if outcome == PYGEN_ERROR:
            reraise()
        answer = <object>result
        Py_DECREF(answer)
        if outcome == PYGEN_NEXT:
            return answer
        raise StopIteration(answer)

    def throw(self, *arguments):
        """As a coroutine's: the error comes up where it waits."""
        if self.ended:
            raise RuntimeError("cannot reuse already awaited coroutine")
        if self.waiting is None or type(self.waiting) is Waiter:
            self.close()
            raise given(*arguments)
        try:
            return self.waiting.throw(*arguments)
        except StopIteration:
            pass
        except BaseException:
            self.waiting = None
            self.ended = True
            self.wait_is_over()
            raise
        self.waiting = None
        self.wait_is_over()
        return self.send(None)

    def close(self):
        self.begun = self.ended = True
        waiting = self.waiting
        if waiting is not None:
            self.waiting = None
            self.wait_is_over()
            if type(waiting) is not Waiter:
                waiting.close()


cdef int reraise() except -1:
    """Let the error that is set come up."""
    return -1


def given(kind, value=None, traceback=None):
    """What a coroutine's throw() makes of its arguments."""
    error = kind
    if isinstance(kind, type):
        error = value if isinstance(value, kind) else kind() if value is None else kind(value)
    return error if traceback is None else error.with_traceback(traceback)


cdef int send_slot(PyObject *target, PyObject *value, PyObject **result) except -1:
    cdef int outcome = (<Awaitable>target).step(<object>value, result)
    return outcome


cdef PyObject *next_slot(PyObject *target) except? NULL:
    cdef PyObject *result = NULL
    cdef object answer
    cdef int outcome = (<Awaitable>target).step(None, &result)
    if outcome != PYGEN_RETURN:
        return result if outcome == PYGEN_NEXT else NULL
    answer = <object>result
    Py_DECREF(answer)
    # NULL without an exception is the end, with None.
    if HAS_RAISED_EXCEPTION and PyBytes_CheckExact(answer):
        if PyBytes_GET_SIZE(answer) <= KEPT_BYTES_MAX:
            set_stop(answer)
            return NULL
    if isinstance(answer, (tuple, BaseException)):
        answer = StopIteration(answer)
    if answer is not None:
        PyErr_SetObject(StopIteration, answer)
    return NULL


cdef bint is_untouched(PyStopIterationObject *stop) noexcept:
    return (
        Py_REFCNT(<PyObject *>stop) == 1 and stop.traceback == NULL and stop.context == NULL
        and stop.cause == NULL and stop.dict == NULL and stop.notes == NULL
    )


cdef void set_stop(bytes value) noexcept:
    """PyErr_SetObject(StopIteration, value), with the kept one if nobody else has it.

    Its `args` are empty: who sends to an awaitable by hand finds the value in `value`.
    """
    global kept_stop
    cdef PyObject *stop = <PyObject *>kept_stop
    cdef PyStopIterationObject *fields = <PyStopIterationObject *>stop
    if not is_untouched(fields):
        # Somebody has caught it, or it has come a longer way: another one from now on.
        try:
            kept_stop = StopIteration()
        except MemoryError:
            pass  # the next one tries
        PyErr_SetObject(StopIteration, value)
        return
    Py_XDECREF(fields.value)
    Py_INCREF(value)
    fields.value = <PyObject *>value
    Py_INCREF(<object>stop)
    PyErr_SetRaisedException(stop)


cdef int fill_slots(type kind) except -1:
    cdef PyTypeObject *slots = <PyTypeObject *>kind
    slots.tp_as_async.am_send = send_slot
    slots.tp_iternext = next_slot
    return 0


# Subclasses inherit both: they are made after this.
fill_slots(Awaitable)
