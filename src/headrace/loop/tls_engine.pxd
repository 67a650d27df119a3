from headrace.loop.openssl cimport BIO, SSL

# How a read or a write has ended.
cdef enum Progress:
    PROGRESS_DONE
    PROGRESS_STARVED   # not before the peer sends more
    PROGRESS_CLOSED    # the peer has said close_notify


cdef class TlsEngine:
    cdef readonly object tls       # the ssl.SSLObject
    cdef Progress progress         # of the last read() or write()

    cdef int feed(self, const char *data, Py_ssize_t size) except -1
    cdef int keep(self) except -1
    cdef Py_ssize_t waiting(self) except -1
    cdef Py_ssize_t readable_max(self) except -1
    cdef Py_ssize_t read(self, char *into, Py_ssize_t size) except -1
    cdef bytes write(self, const char *data, Py_ssize_t size)
    cdef bint has_output(self) except -1
    cdef bytes take_output(self)


cdef class MemoryEngine(TlsEngine):
    cdef object incoming
    cdef object outgoing


# Ciphertext on its way into OpenSSL or out of it.  Belongs to its BIO, which may outlive us: a
# program may keep the SSLObject.
cdef struct Vessel:
    char *kept             # OWNS: what had to be copied
    size_t kept_begin
    size_t kept_end
    size_t kept_size
    char *lent             # BORROWS: the received data; or the bytes object to write into
    size_t lent_size       # what is left of it
    bint ran_dry           # in this call OpenSSL has asked for more than there is


cdef class DirectEngine(TlsEngine):
    cdef object inner      # the SSLObject's _SSLSocket: a program can take it away from there
    cdef SSL *connection   # BORROWS: the _SSLSocket's
    cdef BIO *input        # OWNS: a reference
    cdef BIO *output
    cdef Vessel *incoming  # BORROWS: the BIO's
    cdef Vessel *outgoing

    cdef Py_ssize_t record_overhead   # most that this connection's records have had so far

    cdef Py_ssize_t stopped(self, bint writing) except -1
    cdef int raise_reason(self, bint writing) except -1
    cdef int learn_overhead(self, Py_ssize_t overhead, Py_ssize_t records) except -1


cdef TlsEngine make_engine(object context, bint server_side, object server_hostname, object kind)
