# OpenSSL's types are opaque to us, and so are declared as pointers to void: no header of OpenSSL
# is needed to build, and none could be of another version than what is loaded.

ctypedef void SSL
ctypedef void BIO
ctypedef void BIO_METHOD
ctypedef int (*write_type)(BIO *bio, const char *data, int size) noexcept nogil
ctypedef int (*read_type)(BIO *bio, char *data, int size) noexcept nogil
ctypedef long (*control_type)(BIO *bio, int command, long number, void *pointer) noexcept nogil
ctypedef int (*destroy_type)(BIO *bio) noexcept nogil

# From <openssl/ssl.h> and <openssl/bio.h>; the same in all releases since 1.1.0.
cdef enum:
    SSL_ERROR_WANT_READ = 2
    SSL_ERROR_WANT_WRITE = 3
    SSL_ERROR_ZERO_RETURN = 6
    SSL_READING = 3
    BIO_FLAGS_RETRY_READ = 0x01 | 0x08
    BIO_FLAGS_RETRY_ALL = 0x0F
    BIO_CTRL_PENDING = 10
    BIO_CTRL_FLUSH = 11
    BIO_TYPE_SOURCE_SINK = 0x0400

cdef struct OpenSSL:
    int (*read_ex)(SSL *tls, void *data, size_t size, size_t *done) noexcept nogil
    int (*write_ex)(SSL *tls, const void *data, size_t size, size_t *done) noexcept nogil
    int (*get_error)(const SSL *tls, int result) noexcept nogil
    int (*want)(const SSL *tls) noexcept nogil
    int (*has_pending)(const SSL *tls) noexcept nogil
    void *(*get_context)(const SSL *tls) noexcept nogil
    BIO *(*get_rbio)(const SSL *tls) noexcept nogil
    BIO *(*get_wbio)(const SSL *tls) noexcept nogil
    void (*set0_rbio)(SSL *tls, BIO *bio) noexcept nogil
    void (*set0_wbio)(SSL *tls, BIO *bio) noexcept nogil
    unsigned long (*version_number)() noexcept nogil
    BIO *(*bio_new)(const BIO_METHOD *method) noexcept nogil
    int (*bio_free)(BIO *bio) noexcept nogil
    int (*bio_up_ref)(BIO *bio) noexcept nogil
    void (*bio_set_data)(BIO *bio, void *data) noexcept nogil
    void *(*bio_get_data)(BIO *bio) noexcept nogil
    void (*bio_set_flags)(BIO *bio, int flags) noexcept nogil
    void (*bio_clear_flags)(BIO *bio, int flags) noexcept nogil
    int (*method_index)() noexcept nogil
    BIO_METHOD *(*method_new)(int type, const char *name) noexcept nogil
    int (*method_set_write)(BIO_METHOD *method, write_type function) noexcept nogil
    int (*method_set_read)(BIO_METHOD *method, read_type function) noexcept nogil
    int (*method_set_control)(BIO_METHOD *method, control_type function) noexcept nogil
    int (*method_set_destroy)(BIO_METHOD *method, destroy_type function) noexcept nogil

cdef OpenSSL openssl

cdef SSL *connection_of(object tls) except? NULL
