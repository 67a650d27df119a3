"""TLS engines: ciphertext in, plaintext out, and back; no input or output of their own.

`DirectEngine` calls OpenSSL on the data path (openssl.pyx says how and why), with BIOs of our own:
what has been received is read by OpenSSL where it lies, in the loop's pooled buffer, and what it
writes goes into the bytes object that will be sent.  A memory BIO would copy both once more, and
move its rest about.  `MemoryEngine` does the same through Python's methods, where OpenSSL cannot be
called.  Handshake and shutdown are calls of the SSLObject's methods in both: it works on the same
BIOs, and lets other threads run meanwhile.  So the callbacks of a BIO touch no Python object.

Errors are CPython's own.  When SSL_read_ex() fails, its reason lies in the thread's error queue and
the connection is dead; the Python method, called then, fails likewise and makes of that reason the
exception that it would have made had it been called in the first place.
"""

import ssl

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memmove

from headrace.loop.openssl cimport (
    BIO,
    BIO_CTRL_FLUSH,
    BIO_CTRL_PENDING,
    BIO_FLAGS_RETRY_ALL,
    BIO_FLAGS_RETRY_READ,
    BIO_METHOD,
    BIO_TYPE_SOURCE_SINK,
    SSL_ERROR_WANT_READ,
    SSL_ERROR_WANT_WRITE,
    SSL_ERROR_ZERO_RETURN,
    SSL_READING,
    connection_of,
    openssl,
)

cdef extern from "Python.h":
    object PyMemoryView_FromMemory(char *memory, Py_ssize_t size, int flags)
    int PyBUF_READ, PyBUF_WRITE
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *data, Py_ssize_t size) except NULL
    int _PyBytes_Resize(PyObject **data, Py_ssize_t size) except -1

# RFC 8446 section 5.1: a record holds 16 KiB at most.
cdef Py_ssize_t RECORD_BYTES = 16 * 1024
# What a record has besides: with the ciphers of TLS 1.3 header, type and tag (section 5.2); with
# others more, up to an IV, a MAC and a block of padding.  And at least this much with any cipher.
cdef Py_ssize_t RECORD_OVERHEAD_BYTES = 5 + 1 + 16
cdef Py_ssize_t RECORD_OVERHEAD_BYTES_MAX = 128
cdef Py_ssize_t RECORD_OVERHEAD_BYTES_MIN = 5 + 8 + 1
cdef size_t KEPT_BYTES_MIN = 1024

cdef tuple WANTS = (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLSyscallError)


cdef TlsEngine make_engine(object context, bint server_side, object server_hostname, object kind):
    """The engine for a connection; *kind* is "ssl" for the one that calls no OpenSSL."""
    cdef MemoryEngine engine = MemoryEngine.__new__(MemoryEngine)
    cdef SSL *connection
    engine.incoming = ssl.MemoryBIO()
    engine.outgoing = ssl.MemoryBIO()
    engine.tls = context.wrap_bio(
        engine.incoming, engine.outgoing, server_side=server_side, server_hostname=server_hostname
    )
    # Who listens to messages may raise in there, which only Python's own methods look for.
    if kind == "ssl" or context._msg_callback is not None:
        return engine
    connection = connection_of(engine.tls)
    return engine if connection == NULL else make_direct(engine.tls, connection)


cdef class TlsEngine:
    cdef int feed(self, const char *data, Py_ssize_t size) except -1:
        """Received: may be used in place until keep()."""
        raise NotImplementedError

    cdef int keep(self) except -1:
        """What was fed is going away: copy what is left of it."""
        raise NotImplementedError

    cdef Py_ssize_t waiting(self) except -1:
        """Bytes of ciphertext that OpenSSL has not taken yet."""
        raise NotImplementedError

    cdef Py_ssize_t readable_max(self) except -1:
        """No read finds more plaintext than that; 0 if one would find nothing."""
        raise NotImplementedError

    cdef Py_ssize_t read(self, char *into, Py_ssize_t size) except -1:
        """Plaintext; 0 if there is none now, for which `progress` has the reason."""
        raise NotImplementedError

    cdef bytes write(self, const char *data, Py_ssize_t size):
        """All of *data* as ciphertext, after what is to be said before it.

        Where `progress` says STARVED it has not been written: the same again, when there is more
        input.
        """
        raise NotImplementedError

    cdef bint has_output(self) except -1:
        """Has OpenSSL written by itself?"""
        raise NotImplementedError

    cdef bytes take_output(self):
        """What it has; None if nothing."""
        raise NotImplementedError


# With ssl's own objects.


cdef class MemoryEngine(TlsEngine):
    cdef int feed(self, const char *data, Py_ssize_t size) except -1:
        self.incoming.write(PyMemoryView_FromMemory(<char *>data, size, PyBUF_READ))
        return 0

    cdef int keep(self) except -1:
        return 0

    cdef Py_ssize_t waiting(self) except -1:
        return self.incoming.pending

    cdef Py_ssize_t readable_max(self) except -1:
        return self.incoming.pending + RECORD_BYTES

    cdef Py_ssize_t read(self, char *into, Py_ssize_t size) except -1:
        cdef Py_ssize_t count = 0
        try:
            count = self.tls.read(size, PyMemoryView_FromMemory(into, size, PyBUF_WRITE))
        except WANTS:
            self.progress = PROGRESS_STARVED
            return 0
        except ssl.SSLZeroReturnError:
            pass
        self.progress = PROGRESS_DONE if count else PROGRESS_CLOSED
        return count

    cdef bytes write(self, const char *data, Py_ssize_t size):
        self.progress = PROGRESS_DONE
        try:
            # Without SSL_MODE_ENABLE_PARTIAL_WRITE, which ssl does not set, it is all or nothing.
            self.tls.write(PyMemoryView_FromMemory(<char *>data, size, PyBUF_READ))
        except WANTS:
            self.progress = PROGRESS_STARVED
        return self.take_output()

    cdef bint has_output(self) except -1:
        return bool(self.outgoing.pending)

    cdef bytes take_output(self):
        return self.outgoing.read() if self.outgoing.pending else None


# With OpenSSL.

cdef BIO_METHOD *vessel_method = NULL


cdef DirectEngine make_direct(object tls, SSL *connection):
    cdef DirectEngine engine = DirectEngine.__new__(DirectEngine)
    engine.tls = tls
    engine.inner = tls._sslobj
    engine.connection = connection
    engine.record_overhead = RECORD_OVERHEAD_BYTES
    engine.input = new_vessel(&engine.incoming)
    engine.output = new_vessel(&engine.outgoing)
    # One reference is ours and one the connection's, which lets go of the memory BIOs.
    openssl.bio_up_ref(engine.input)
    openssl.bio_up_ref(engine.output)
    openssl.set0_rbio(connection, engine.input)
    openssl.set0_wbio(connection, engine.output)
    return engine


cdef BIO *new_vessel(Vessel **vessel) except NULL:
    cdef BIO *bio
    if vessel_method == NULL:
        make_method()
    vessel[0] = <Vessel *>calloc(1, sizeof(Vessel))
    if vessel[0] == NULL:
        raise MemoryError()
    bio = openssl.bio_new(vessel_method)
    if bio == NULL:
        free(vessel[0])
        raise MemoryError()
    openssl.bio_set_data(bio, vessel[0])
    return bio


cdef int make_method() except -1:
    """Once; never freed, since a BIO refers to it to its end."""
    global vessel_method
    vessel_method = openssl.method_new(
        openssl.method_index() | BIO_TYPE_SOURCE_SINK, "headrace vessel"
    )
    if vessel_method == NULL:
        raise MemoryError()
    openssl.method_set_write(vessel_method, pour_in)
    openssl.method_set_read(vessel_method, pour_out)
    openssl.method_set_control(vessel_method, control)
    openssl.method_set_destroy(vessel_method, destroy)
    return 0


cdef int destroy(BIO *bio) noexcept nogil:
    cdef Vessel *vessel = <Vessel *>openssl.bio_get_data(bio)
    if vessel != NULL:
        free(vessel.kept)
        free(vessel)
    return 1


cdef long control(BIO *bio, int command, long number, void *pointer) noexcept nogil:
    cdef Vessel *vessel
    if command == BIO_CTRL_FLUSH:
        return 1
    if command == BIO_CTRL_PENDING:
        vessel = <Vessel *>openssl.bio_get_data(bio)
        return <long>(vessel.kept_end - vessel.kept_begin + vessel.lent_size)
    return 0


cdef int pour_out(BIO *bio, char *into, int size) noexcept nogil:
    """OpenSSL reads: first what is kept, then what is lent."""
    cdef Vessel *vessel = <Vessel *>openssl.bio_get_data(bio)
    cdef size_t count = vessel.kept_end - vessel.kept_begin
    openssl.bio_clear_flags(bio, BIO_FLAGS_RETRY_ALL)
    if size <= 0:
        return 0
    if count:
        count = min(count, <size_t>size)
        memcpy(into, vessel.kept + vessel.kept_begin, count)
        vessel.kept_begin += count
        return <int>count
    count = min(vessel.lent_size, <size_t>size)
    if count == 0:
        vessel.ran_dry = True
        openssl.bio_set_flags(bio, BIO_FLAGS_RETRY_READ)
        return -1
    memcpy(into, vessel.lent, count)
    vessel.lent += count
    vessel.lent_size -= count
    return <int>count


cdef int pour_in(BIO *bio, const char *data, int size) noexcept nogil:
    """OpenSSL writes: into what is lent, while nothing is kept and it has room."""
    cdef Vessel *vessel = <Vessel *>openssl.bio_get_data(bio)
    openssl.bio_clear_flags(bio, BIO_FLAGS_RETRY_ALL)
    if size <= 0:
        return 0
    if vessel.kept_end == 0 and <size_t>size <= vessel.lent_size:
        memcpy(vessel.lent, data, size)
        vessel.lent += size
        vessel.lent_size -= <size_t>size
        return size
    return size if keep_more(vessel, data, <size_t>size) else -1


cdef bint keep_more(Vessel *vessel, const char *data, size_t size) noexcept nogil:
    """Append to what is kept; False without memory."""
    cdef size_t held = vessel.kept_end - vessel.kept_begin
    cdef size_t wanted = max(KEPT_BYTES_MIN, vessel.kept_size)
    cdef char *grown
    if vessel.kept_begin:
        memmove(vessel.kept, vessel.kept + vessel.kept_begin, held)
        vessel.kept_begin = 0
        vessel.kept_end = held
    if held + size > vessel.kept_size:
        while wanted < held + size:
            wanted *= 2
        grown = <char *>realloc(vessel.kept, wanted)
        if grown == NULL:
            return False
        vessel.kept = grown
        vessel.kept_size = wanted
    memcpy(vessel.kept + held, data, size)
    vessel.kept_end = held + size
    return True


cdef void forget_kept(Vessel *vessel) noexcept nogil:
    """An idle connection keeps no buffer."""
    free(vessel.kept)
    vessel.kept = NULL
    vessel.kept_begin = vessel.kept_end = vessel.kept_size = 0


cdef class DirectEngine(TlsEngine):
    def __dealloc__(self):
        if self.input != NULL:
            openssl.bio_free(self.input)
        if self.output != NULL:
            openssl.bio_free(self.output)

    cdef int feed(self, const char *data, Py_ssize_t size) except -1:
        self.incoming.lent = <char *>data
        self.incoming.lent_size = <size_t>size
        return 0

    cdef int keep(self) except -1:
        cdef Vessel *vessel = self.incoming
        if vessel.kept != NULL and vessel.kept_begin == vessel.kept_end:
            forget_kept(vessel)
        if vessel.lent_size and not keep_more(vessel, vessel.lent, vessel.lent_size):
            raise MemoryError()
        vessel.lent = NULL
        vessel.lent_size = 0
        return 0

    cdef Py_ssize_t waiting(self) except -1:
        cdef Vessel *vessel = self.incoming
        return <Py_ssize_t>(vessel.kept_end - vessel.kept_begin + vessel.lent_size)

    cdef Py_ssize_t readable_max(self) except -1:
        cdef Py_ssize_t size = self.waiting()
        if openssl.has_pending(self.connection):
            # Part of a record, or of its plaintext.
            return size + RECORD_BYTES
        if size > RECORD_OVERHEAD_BYTES_MIN:
            # It begins with a record: close to the size of what it holds, if it holds one.
            return size - RECORD_OVERHEAD_BYTES_MIN
        return size

    cdef Py_ssize_t read(self, char *into, Py_ssize_t size) except -1:
        cdef size_t count = 0
        self.incoming.ran_dry = False
        if openssl.read_ex(self.connection, into, <size_t>size, &count):
            self.progress = PROGRESS_DONE
            return <Py_ssize_t>count
        return self.stopped(writing=False)

    cdef Py_ssize_t stopped(self, bint writing) except -1:
        """Nothing was read or written: say why, by an exception if it is an error."""
        cdef int error
        if self.incoming.ran_dry and openssl.want(self.connection) == SSL_READING:
            self.progress = PROGRESS_STARVED
            return 0
        error = openssl.get_error(self.connection, 0)
        if error == SSL_ERROR_ZERO_RETURN:
            self.progress = PROGRESS_CLOSED
        elif error == SSL_ERROR_WANT_READ or error == SSL_ERROR_WANT_WRITE:
            self.progress = PROGRESS_STARVED
        else:
            self.raise_reason(writing)
        return 0

    cdef int raise_reason(self, bint writing) except -1:
        """Let the Python method make the exception of what OpenSSL has left in its queue."""
        if writing:
            self.tls.write(b"\0")
        else:
            self.tls.read(1)
        raise ssl.SSLError("OpenSSL has failed without a reason")

    cdef bytes write(self, const char *data, Py_ssize_t size):
        cdef Py_ssize_t records = (size + RECORD_BYTES - 1) // RECORD_BYTES
        cdef Py_ssize_t room = size + records * self.record_overhead
        cdef Py_ssize_t used
        cdef size_t count = 0
        cdef PyObject *made = new_bytes(NULL, room)
        self.outgoing.lent = PyBytes_AS_STRING(<object>made)
        self.outgoing.lent_size = <size_t>room
        self.incoming.ran_dry = False
        self.progress = PROGRESS_DONE
        # Without SSL_MODE_ENABLE_PARTIAL_WRITE, which ssl does not set, it is all or nothing.
        written = openssl.write_ex(self.connection, data, <size_t>size, &count)
        used = room - <Py_ssize_t>self.outgoing.lent_size
        self.outgoing.lent = NULL
        self.outgoing.lent_size = 0
        _PyBytes_Resize(&made, used)
        output = <bytes>made
        Py_DECREF(output)
        if not written:
            self.stopped(writing=True)
        if self.has_output():
            output += self.take_output()
            if written:
                self.learn_overhead(PyBytes_GET_SIZE(output) - size, records)
        return output or None

    cdef int learn_overhead(self, Py_ssize_t overhead, Py_ssize_t records) except -1:
        """The cipher adds more than we have reckoned with: the next bytes object has room."""
        cdef Py_ssize_t each = (overhead + records - 1) // records
        self.record_overhead = min(max(self.record_overhead, each), RECORD_OVERHEAD_BYTES_MAX)
        return 0

    cdef bint has_output(self) except -1:
        return self.outgoing.kept_end != 0

    cdef bytes take_output(self):
        cdef Vessel *vessel = self.outgoing
        cdef bytes data
        if vessel.kept_end == 0:
            return None
        data = PyBytes_FromStringAndSize(vessel.kept, <Py_ssize_t>vessel.kept_end)
        forget_kept(vessel)
        return data
