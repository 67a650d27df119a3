"""Callbacks, timers, tasks: how they come to be run by the loop.

Facts.  A callback costs less to run than to schedule, if scheduling builds a tuple of arguments, a
dictionary of keywords and a handle from fresh memory.  asyncio's own C code calls call_soon() with
the keyword `context`, for every step of a task and every callback of a future.

Decision.  The methods that are called all the time stand here twice: as ordinary methods, which
know every form of a call, debug mode and their errors; and as functions of CPython's vectorcall
convention, which take the usual forms and pass all others on.  The class has the second kind; see
put_in_place().
"""

from asyncio import base_events, format_helpers, futures, tasks

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF

from headrace.core.handle cimport Handle, TimerHandle, make_handle
from headrace.core.ready_queue cimport ready_push
from headrace.kernel.time cimport monotonic_seconds

cdef extern from "Python.h":
    object PyContext_CopyCurrent()
    int PyObject_GenericSetAttr(object target, object name, PyObject *value) except -1
    ctypedef struct PyTypeObject:
        PyObject *tp_dict
        unsigned int tp_version_tag
        PyObject *(*tp_new)(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
        int (*tp_init)(PyObject *target, PyObject *arguments, PyObject *keywords) except -1
    ctypedef struct PyMethodDef:
        const char *ml_name
        void *ml_meth
        int ml_flags
        const char *ml_doc
    enum:
        METH_FASTCALL
        METH_KEYWORDS
    object PyDescr_NewMethod(type owner, PyMethodDef *definition)
    void PyType_Modified(type owner)
    int PyFloat_CheckExact(PyObject *value) noexcept
    int PyLong_CheckExact(PyObject *value) noexcept
    double PyFloat_AS_DOUBLE(PyObject *value) noexcept
    double PyLong_AsDouble(PyObject *value) except? -1
    PyObject *_PyType_Lookup(type owner, object name) noexcept
    PyObject *PyDict_GetItemWithError(dict items, object key) except? NULL

ctypedef object (*method)(object target, PyObject **values, Py_ssize_t count, PyObject *names)

cdef str CONTEXT = "context"
cdef str TIME = "time"
cdef str CALL_AT = "call_at"
cdef str CALL_SOON = "call_soon"
cdef str CREATE_FUTURE = "create_future"
cdef str FUTURE = "Future"
# What these are while nobody has put others in their place.
cdef object plain_time = None
cdef object plain_call_at = None
cdef object plain_call_soon = None
cdef object plain_create_future = None
# The tag of the class for which waits_natively() was answered last with yes: CPython gives a class
# a new one when an attribute of it changes.  0 is the tag of a class that has none.
cdef unsigned int native_tag = 0

# asyncio's class of futures, and where a program may put another one.
cdef object FutureType = futures.Future
cdef dict of_futures = futures.__dict__
cdef bint IS_NATIVE_FUTURE = FutureType is not futures._PyFuture
cdef tuple NOTHING = ()


cdef class Scheduling:
    def __cinit__(self, *arguments, **keywords):
        self.ready = ReadyQueue()
        self.timers = TimerHeap()
        self.is_plain = True
        self._closed = True

    def __setattr__(self, name, value):
        if name == TIME or name == CALL_AT or name == CALL_SOON or name == CREATE_FUTURE:
            self.is_plain = False
        PyObject_GenericSetAttr(self, name, <PyObject *>value)

    def __delattr__(self, name):
        PyObject_GenericSetAttr(self, name, NULL)

    # Callbacks.

    def call_soon(self, callback, *args, context=None):
        cdef Handle handle
        if self._closed:
            raise RuntimeError("Event loop is closed")
        if self._debug:
            self._check_thread()
            self._check_callback(callback, "call_soon")
        handle = make_handle(self, callback, args, context)
        if self._debug:
            handle._source_traceback = caller_stack()
        ready_push(self.ready, handle, 0, 0)
        return handle

    def call_soon_threadsafe(self, callback, *args, context=None):
        cdef Handle handle
        if self._closed:
            raise RuntimeError("Event loop is closed")
        if self._debug:
            self._check_callback(callback, "call_soon_threadsafe")
        handle = make_handle(self, callback, args, context)
        if self._debug:
            handle._source_traceback = caller_stack()
        ready_push(self.ready, handle, 0, 0)
        self.wake()
        return handle

    def call_later(self, delay, callback, *args, context=None):
        if delay is None:
            raise TypeError("delay must not be None")
        return self.call_at(self.now() + delay, callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None):
        cdef TimerHandle handle
        cdef double when_s
        if when is None:
            raise TypeError("when cannot be None")
        if when != when:
            # It would compare as neither before nor after any other, and stop them all.
            raise ValueError("when cannot be NaN")
        if self._closed:
            raise RuntimeError("Event loop is closed")
        if self._debug:
            self._check_thread()
            self._check_callback(callback, "call_at")
        when_s = when
        handle = TimerHandle(when, callback, args, self, context)
        handle.when_s = when_s
        handle.heap = self.timers
        if self._debug:
            handle._source_traceback = caller_stack()
        self.timers.push(handle, when_s)
        return handle

    def _add_callback(self, Handle handle):
        """Queue a handle that was made elsewhere (asyncio's own cold paths do)."""
        if not handle.is_cancelled:
            ready_push(self.ready, handle, 0, 0)

    def _add_callback_signalsafe(self, Handle handle):
        self._add_callback(handle)
        self.wake()

    def _write_to_self(self):
        self.wake()

    cdef int wake(self) noexcept:
        """Make a waiting loop return."""
        return 0

    # Tasks and futures.

    def create_future(self):
        """As asyncio's; but its keywords are one dictionary, until the loop is closed."""
        cdef PyObject *kind = PyDict_GetItemWithError(of_futures, FUTURE)
        if kind != <PyObject *>FutureType or not IS_NATIVE_FUTURE or self._closed:
            return futures.Future(loop=self)
        if self.future_keywords is None:
            self.future_keywords = {"loop": self}
        return make_future(self.future_keywords)

    cdef bint waits_natively(self) noexcept:
        """May a Waiter stand for a future?  Not where somebody wants to see how tasks wait."""
        global native_tag
        cdef type kind = type(self)
        cdef unsigned int tag = (<PyTypeObject *>kind).tp_version_tag
        if not self.is_plain or self._debug:
            return False
        if tag and tag == native_tag:
            return True
        if not (
            has_plain(self, CALL_SOON, plain_call_soon)
            and has_plain(self, CREATE_FUTURE, plain_create_future)
        ):
            return False
        native_tag = (<PyTypeObject *>kind).tp_version_tag
        return True

    def create_task(self, coro, **keywords):
        """As asyncio's; without a task factory, and but for debug mode, in native code."""
        if keywords or self._debug or self._closed or self._task_factory is not None:
            return base_events.BaseEventLoop.create_task(self, coro, **keywords)
        return tasks.Task(coro, loop=self)

    # What asyncio's C code asks for every future and every task.

    def get_debug(self):
        return self._debug

    def is_closed(self):
        return self._closed

    def _check_closed(self):
        if self._closed:
            raise RuntimeError("Event loop is closed")

    def is_running(self):
        return self._thread_id is not None

    # The clock.

    def time(self):
        return monotonic_seconds()

    cdef double now(self) except? -1:
        return monotonic_seconds() if has_plain(self, TIME, plain_time) else self.time()


cdef object make_future(dict keywords):
    """asyncio.Future(**keywords), without a dictionary for each."""
    cdef PyTypeObject *kind = <PyTypeObject *>FutureType
    cdef PyObject *made = kind.tp_new(kind, <PyObject *>NOTHING, NULL)
    cdef object future
    if made == NULL:
        raise MemoryError()
    future = <object>made
    Py_DECREF(future)  # the reference that tp_new() has given
    kind.tp_init(made, <PyObject *>NOTHING, <PyObject *>keywords)
    return future


cdef bint has_plain(Scheduling loop, str name, object plain) noexcept:
    """Has nobody put a method of his own in the place of ours, in the instance or in a class?"""
    return loop.is_plain and _PyType_Lookup(type(loop), name) == <PyObject *>plain


cdef object caller_stack():
    return format_helpers.extract_stack()


# The same by vectorcall.

# The names of keywords are a tuple that each caller makes once: known by itself from then on.
cdef tuple last_names = (CONTEXT,)


cdef bint take_context(PyObject *names, PyObject **values, PyObject **context) except -1:
    """Is `context` the only keyword, if there is any?  Then that is left in *context*."""
    global last_names
    if names == NULL:
        return True
    if names != <PyObject *>last_names:
        if <tuple>names != (CONTEXT,):
            return False
        last_names = <tuple>names
    if values[0] != <PyObject *>None:
        context[0] = values[0]
    return True


cdef object call_slowly(
    object ordinary, object target, PyObject **values, Py_ssize_t count, PyObject *names
):
    """The ordinary method, which knows what to do with any arguments."""
    cdef Py_ssize_t index
    arguments = [target]
    for index in range(count):
        arguments.append(<object>values[index])
    keywords = {}
    if names != NULL:
        for index, name in enumerate(<tuple>names):
            keywords[name] = <object>values[count + index]
    return ordinary(*arguments, **keywords)


cdef object any_call_soon, any_call_soon_threadsafe, any_call_later, any_call_at


cdef object call_soon(object target, PyObject **values, Py_ssize_t count, PyObject *names):
    cdef Scheduling loop = <Scheduling>target
    cdef PyObject *context = NULL
    cdef Handle handle
    if (
        count < 1 or loop._closed or loop._debug
        or not take_context(names, values + count, &context)
    ):
        return call_slowly(any_call_soon, target, values, count, names)
    handle = Handle.__new__(Handle)
    handle.fill(loop, values, count, context)
    ready_push(loop.ready, handle, 0, 0)
    return handle


cdef object call_soon_threadsafe(
    object target, PyObject **values, Py_ssize_t count, PyObject *names
):
    cdef Scheduling loop = <Scheduling>target
    cdef PyObject *context = NULL
    cdef Handle handle
    if (
        count < 1 or loop._closed or loop._debug
        or not take_context(names, values + count, &context)
    ):
        return call_slowly(any_call_soon_threadsafe, target, values, count, names)
    handle = Handle.__new__(Handle)
    handle.fill(loop, values, count, context)
    ready_push(loop.ready, handle, 0, 0)
    loop.wake()
    return handle


cdef object call_later(object target, PyObject **values, Py_ssize_t count, PyObject *names):
    cdef Scheduling loop = <Scheduling>target
    cdef double delay_s
    if (
        count < 2 or not take_seconds(values[0], &delay_s)
        or not has_plain(loop, TIME, plain_time) or not has_plain(loop, CALL_AT, plain_call_at)
    ):
        return call_slowly(any_call_later, target, values, count, names)
    timer = set_timer(loop, monotonic_seconds() + delay_s, values + 1, count - 1, names)
    if timer is None:
        return call_slowly(any_call_later, target, values, count, names)
    return timer


cdef object call_at(object target, PyObject **values, Py_ssize_t count, PyObject *names):
    cdef Scheduling loop = <Scheduling>target
    cdef TimerHandle timer = None
    if count >= 2 and PyFloat_CheckExact(values[0]):
        timer = set_timer(loop, PyFloat_AS_DOUBLE(values[0]), values + 1, count - 1, names)
    if timer is None:
        return call_slowly(any_call_at, target, values, count, names)
    return timer


cdef bint take_seconds(PyObject *value, double *seconds) except -1:
    if PyFloat_CheckExact(value):
        seconds[0] = PyFloat_AS_DOUBLE(value)
        return True
    if PyLong_CheckExact(value):
        seconds[0] = PyLong_AsDouble(value)
        return True
    return False


cdef TimerHandle set_timer(
    Scheduling loop, double when_s, PyObject **values, Py_ssize_t count, PyObject *names
):
    """A timer of the usual kind, or None: then the ordinary method is to be called."""
    cdef PyObject *context = NULL
    cdef TimerHandle timer
    if (
        when_s != when_s or loop._closed or loop._debug
        or not take_context(names, values + count, &context)
    ):
        return None
    timer = TimerHandle.__new__(TimerHandle)
    timer.fill(loop, values, count, context)
    timer.when_s = when_s
    timer.heap = loop.timers
    loop.timers.push(timer, when_s)
    return timer


cdef PyMethodDef definitions[4]


cdef object put_in_place(int index, const char *name, const char *text, method function):
    """Put *function* in the place of the method *name*, and answer that method."""
    cdef dict members = <dict>(<PyTypeObject *>Scheduling).tp_dict
    cdef object any_form = members[name.decode()]
    definitions[index].ml_name = name
    definitions[index].ml_meth = <void *>function
    definitions[index].ml_flags = METH_FASTCALL | METH_KEYWORDS
    definitions[index].ml_doc = text
    members[name.decode()] = PyDescr_NewMethod(Scheduling, &definitions[index])
    PyType_Modified(Scheduling)
    return any_form


any_call_soon = put_in_place(
    0, "call_soon", "call_soon($self, callback, /, *args, context=None)\n--\n\n", call_soon
)
any_call_soon_threadsafe = put_in_place(
    1, "call_soon_threadsafe",
    "call_soon_threadsafe($self, callback, /, *args, context=None)\n--\n\n", call_soon_threadsafe,
)
any_call_later = put_in_place(
    2, "call_later",
    "call_later($self, delay, callback, /, *args, context=None)\n--\n\n", call_later,
)
any_call_at = put_in_place(
    3, "call_at", "call_at($self, when, callback, /, *args, context=None)\n--\n\n", call_at
)
plain_time = Scheduling.__dict__[TIME]
plain_call_at = Scheduling.__dict__[CALL_AT]
plain_call_soon = Scheduling.__dict__[CALL_SOON]
plain_create_future = Scheduling.__dict__[CREATE_FUTURE]
