from headrace.loop.tls_protocol cimport TlsProtocol


cdef class TlsTransport(TlsProtocol):
    cdef list chunks               # plaintext, written and not yet encrypted
    cdef Py_ssize_t offset         # of the first chunk, how much has been encrypted
    cdef Py_ssize_t buffered       # what is left of them
    cdef Py_ssize_t high_water
    cdef Py_ssize_t low_water
    cdef Py_ssize_t read_high_water
    cdef Py_ssize_t read_low_water
    cdef unsigned long pumped_turn  # when it was encrypted and sent last
    cdef bint writing_paused       # the protocol was told to pause
    cdef bint wire_reading_paused
    cdef bint is_buffered          # the protocol is a BufferedProtocol
    cdef bint dirty                # in the loop's flush queue
    cdef bint starved              # OpenSSL wants to read before it writes

    cdef bint may_read(self) noexcept
    cdef int read_bytes(self) except -1
    cdef bytes next_bytes(self, Py_ssize_t size)
    cdef int read_buffered(self) except -1
    cdef Py_ssize_t fill_buffer(self, object buffer) except -1
    cdef Py_ssize_t fill(self, char *into, Py_ssize_t size) except -1
    cdef int discard(self) except -1
    cdef int control_wire_reading(self) except -1
    cdef int append(self, bytes data) except -1
    cdef int append_quietly(self, bytes data) except -1
    cdef int make_dirty(self) except -1
    cdef int encrypt(self) except -1
    cdef int encrypt_some(self, bint gather) except -1
    cdef bytes some_plaintext(self)
    cdef int drop_encrypted(self, Py_ssize_t size) except -1
    cdef int send_what_can_be(self) except -1
    cdef int control_writing(self) except -1
    cdef int tell(self, str name) except -1
