"""OpenSSL, called directly: the very library that Python's `ssl` module has loaded.

Facts.  An `ssl.SSLObject` is a Python shell around `_ssl._SSLSocket`, a C object that holds an
`SSL *`.  A write of 256 bytes through it and the read of them take four microseconds here.  Asking
for 256 KiB, as asyncio.sslproto does since it cannot know how much there is, adds an allocation of
that size, which malloc(3) maps and unmaps; and "nothing more to read" is an exception, five
microseconds each time.

Decision.  Everything that decides about trust or happens once a connection stays with `ssl`:
contexts, certificates, host names, handshake, shutdown.  The data path calls SSL_read_ex() and
SSL_write_ex() on the same `SSL *`.  The functions are taken by dlsym(3) from the module `_ssl`
that is loaded: its dependencies are searched, so it is the same libssl and libcrypto, whatever
else the process has loaded.  We never link one: two of different versions on one `SSL *` would be
memory corruption.

What the obvious does wrong.  The place of the `SSL *` inside `_SSLSocket` is no interface of
CPython's.  It has been the fourth word (after reference count, type and the weak reference to the
socket) in 3.11, 3.12 and 3.13, and is believed for these only, and only if a throw-away object
says the same in each word that can be known otherwise: the socket is none, the fifth word is the
context, and the candidate, asked by OpenSSL, knows the BIOs and the SSL_CTX that Python's objects
hold.  OpenSSL is asked last, so that a wrong guess is not followed: first the memory is looked at
by write(2) into a pipe, which answers EFAULT where a load would crash.

Where this cannot be (a statically linked Python that hides the symbols, LibreSSL, a free-threaded
build, another version), unavailable_reason() says why, and `tls_engine` works through
`ssl.MemoryBIO` instead.

Kernel TLS is not used.  SSL_OP_ENABLE_KTLS acts on a BIO over the socket alone, that is, on an
OpenSSL that calls send and recv by itself: no ring, no gathering, no thread that blocks.  What it
saves is a copy, on the core that encrypts all the same; what it would give us is sendfile(2) over
TLS.  The kernels we have measured on do not offer it (`kernel_tls.py` asks), and no code is kept
that nobody can run.
"""

import os
import ssl
import sys

from headrace.kernel.dlfcn cimport RTLD_LAZY, RTLD_NOLOAD, dlopen, dlsym
from headrace.kernel.unistd cimport write

# The layout of _SSLSocket, _SSLContext and MemoryBIO, in words.
cdef enum:
    SOCKET_WORD_SOCKET = 2
    SOCKET_WORD_SSL = 3
    SOCKET_WORD_CONTEXT = 4
    CONTEXT_WORD_SSL_CTX = 2
    MEMORY_BIO_WORD_BIO = 2

# SSL_get_rbio() and its like look at the beginning of the structure.
cdef size_t SSL_BYTES_LOOKED_AT = 128
cdef tuple PYTHONS_KNOWN = ((3, 11), (3, 12), (3, 13))

cdef object socket_type = None
cdef str reason = None


def unavailable_reason():
    """Looked for when it is first asked: a program without TLS makes no context."""
    global reason
    if reason is None:
        reason = find()
    return reason


cdef SSL *connection_of(object tls) except? NULL:
    """The SSL of an ssl.SSLObject; BORROWS: it is freed with the object's _SSLSocket.

    NULL if not known.
    """
    if unavailable_reason() or type(tls) is not ssl.SSLObject:
        return NULL
    inner = tls._sslobj
    if type(inner) is not socket_type:
        return NULL
    return word_of(inner, SOCKET_WORD_SSL)


cdef void *word_of(object instance, int number) noexcept:
    return (<void **><void *>instance)[number]


cdef str find():
    """Fill `openssl`, and check what we believe; the reason why not, or an empty string."""
    global socket_type
    if not ssl.OPENSSL_VERSION.startswith("OpenSSL "):
        return f"ssl is made with {ssl.OPENSSL_VERSION}"
    if ssl.OPENSSL_VERSION_INFO < (1, 1, 1):
        return f"{ssl.OPENSSL_VERSION} is too old"
    if sys.implementation.name != "cpython" or sys.version_info[:2] not in PYTHONS_KNOWN:
        return "the layout of _ssl._SSLSocket is not known for this Python"
    # Not sysconfig, which reads a file that a process without its old rights may not reach.
    if "t" in sys.abiflags or hasattr(sys, "getobjects"):
        return "the layout of objects is not known for this build of Python"
    path = getattr(sys.modules["_ssl"], "__file__", None)
    if path is None:
        return "_ssl is built into the interpreter"
    missing = load(path)
    return missing or check_layout()


cdef str load(str path):
    cdef void *library
    cdef bytes name = path.encode(sys.getfilesystemencoding(), "surrogateescape")
    # Never closed: what was loaded stays so, as the module does.
    library = dlopen(name, RTLD_LAZY | RTLD_NOLOAD)
    if library == NULL:
        return f"{path} is not loaded"
    for name, target in targets().items():
        address = <size_t>dlsym(library, name)
        if address == 0:
            return f"{name.decode()} is hidden"
        (<size_t *><size_t>target)[0] = address
    if openssl.version_number() != ssl.OPENSSL_VERSION_NUMBER:
        return "the library found is of another version than the one ssl uses"
    return ""


cdef dict targets():
    """Symbol -> the address of the pointer that it belongs into."""
    return {
        b"SSL_read_ex": <size_t>&openssl.read_ex,
        b"SSL_write_ex": <size_t>&openssl.write_ex,
        b"SSL_get_error": <size_t>&openssl.get_error,
        b"SSL_want": <size_t>&openssl.want,
        b"SSL_has_pending": <size_t>&openssl.has_pending,
        b"SSL_get_SSL_CTX": <size_t>&openssl.get_context,
        b"SSL_get_rbio": <size_t>&openssl.get_rbio,
        b"SSL_get_wbio": <size_t>&openssl.get_wbio,
        b"SSL_set0_rbio": <size_t>&openssl.set0_rbio,
        b"SSL_set0_wbio": <size_t>&openssl.set0_wbio,
        b"OpenSSL_version_num": <size_t>&openssl.version_number,
        b"BIO_new": <size_t>&openssl.bio_new,
        b"BIO_free": <size_t>&openssl.bio_free,
        b"BIO_up_ref": <size_t>&openssl.bio_up_ref,
        b"BIO_set_data": <size_t>&openssl.bio_set_data,
        b"BIO_get_data": <size_t>&openssl.bio_get_data,
        b"BIO_set_flags": <size_t>&openssl.bio_set_flags,
        b"BIO_clear_flags": <size_t>&openssl.bio_clear_flags,
        b"BIO_get_new_index": <size_t>&openssl.method_index,
        b"BIO_meth_new": <size_t>&openssl.method_new,
        b"BIO_meth_set_write": <size_t>&openssl.method_set_write,
        b"BIO_meth_set_read": <size_t>&openssl.method_set_read,
        b"BIO_meth_set_ctrl": <size_t>&openssl.method_set_control,
        b"BIO_meth_set_destroy": <size_t>&openssl.method_set_destroy,
    }


cdef str check_layout():
    """Is the SSL of a throw-away object where we look for it?"""
    global socket_type
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    inner = tls._sslobj
    if (
        type(inner).__basicsize__ < (SOCKET_WORD_CONTEXT + 1) * sizeof(void *)
        or word_of(inner, SOCKET_WORD_SOCKET) != NULL
        or word_of(inner, SOCKET_WORD_CONTEXT) != <void *>context
        or not is_readable(word_of(inner, SOCKET_WORD_SSL), SSL_BYTES_LOOKED_AT)
        or not knows(word_of(inner, SOCKET_WORD_SSL), context, incoming, outgoing)
    ):
        return "the layout of _ssl._SSLSocket is another one"
    socket_type = type(inner)
    return ""


cdef bint is_readable(void *address, size_t size) except -1:
    """Asks the kernel, which answers EFAULT where a load would end the process."""
    cdef ssize_t written
    reader, writer = os.pipe()
    try:
        written = write(writer, address, size)
    finally:
        os.close(reader)
        os.close(writer)
    return written == <ssize_t>size


cdef bint knows(SSL *tls, object context, object incoming, object outgoing) noexcept:
    return (
        openssl.get_context(tls) == word_of(context, CONTEXT_WORD_SSL_CTX)
        and openssl.get_rbio(tls) == word_of(incoming, MEMORY_BIO_WORD_BIO)
        and openssl.get_wbio(tls) == word_of(outgoing, MEMORY_BIO_WORD_BIO)
    )
