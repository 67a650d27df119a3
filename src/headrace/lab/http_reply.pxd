"""A reader of HTTP/1.x replies for the load generator: any split of the bytes, no allocation.

It knows what is needed to find the end of a reply (RFC 9112 section 6.3): the status, the
Content-Length, the chunked coding, or the end of the connection; and whether the connection may
be used again (RFC 9112 section 9.3). It looks at nothing else.
"""

from libc.string cimport memchr, memcpy

cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char *left, const char *right, size_t size)

cdef enum:
    LINE_BYTES_MAX = 256  # longer header lines are cut: no line that matters is longer
    HEAD_BYTES_MAX = 65536

cdef enum ReplyState:
    STATUS_LINE
    HEADER_LINE
    BODY_SIZED
    BODY_TO_END
    CHUNK_SIZE_LINE
    CHUNK_BODY
    CHUNK_END_LINE
    TRAILER_LINE
    REPLY_DONE
    REPLY_MALFORMED

cdef struct Reply:
    ReplyState state
    int status
    bint keep_alive
    bint chunked
    bint sized
    size_t head_size
    size_t left  # bytes of the body, or of the chunk, still to come
    size_t line_size
    char line[LINE_BYTES_MAX]


cdef inline void reply_start(Reply *reply) noexcept nogil:
    reply.state = STATUS_LINE
    reply.status = 0
    reply.keep_alive = reply.chunked = reply.sized = False
    reply.head_size = reply.left = reply.line_size = 0


cdef inline bint reply_begun(const Reply *reply) noexcept nogil:
    return reply.head_size > 0


cdef inline bint is_digit(char byte) noexcept nogil:
    return 48 <= byte <= 57


cdef inline void read_status_line(Reply *reply, const char *line, size_t size) noexcept nogil:
    if size < 12 or strncasecmp(line, b"HTTP/1.", 7) != 0 or line[8] != 32:
        reply.state = REPLY_MALFORMED
        return
    if not (is_digit(line[9]) and is_digit(line[10]) and is_digit(line[11])):
        reply.state = REPLY_MALFORMED
        return
    reply.keep_alive = line[7] != 48
    reply.status = (line[9] - 48) * 100 + (line[10] - 48) * 10 + (line[11] - 48)
    reply.state = HEADER_LINE


cdef inline bint header_value(
    const char *line, size_t size, const char *name, size_t name_size, size_t *start
) noexcept nogil:
    """Whether the line is this header, and where its value starts."""
    if size < name_size or strncasecmp(line, name, name_size) != 0:
        return False
    start[0] = name_size
    while start[0] < size and (line[start[0]] == 32 or line[start[0]] == 9):
        start[0] += 1
    return True


cdef inline bint value_is(
    const char *line, size_t size, size_t start, const char *word, size_t word_size
) noexcept nogil:
    return size - start >= word_size and strncasecmp(line + start, word, word_size) == 0


cdef inline void read_length(
    Reply *reply, const char *line, size_t size, size_t start
) noexcept nogil:
    cdef size_t length = 0
    if start == size:
        reply.state = REPLY_MALFORMED
    while start < size and is_digit(line[start]) and length < (<size_t>1 << 40):
        length = length * 10 + <size_t>(line[start] - 48)
        start += 1
    if start < size and line[start] != 32 and line[start] != 9:
        reply.state = REPLY_MALFORMED
    reply.sized = True
    reply.left = length


cdef inline void read_header_line(Reply *reply, const char *line, size_t size) noexcept nogil:
    cdef size_t start = 0
    if header_value(line, size, b"content-length:", 15, &start):
        read_length(reply, line, size, start)
    elif header_value(line, size, b"transfer-encoding:", 18, &start):
        reply.chunked = value_is(line, size, start, b"chunked", 7)
    elif header_value(line, size, b"connection:", 11, &start):
        if value_is(line, size, start, b"close", 5):
            reply.keep_alive = False
        elif value_is(line, size, start, b"keep-alive", 10):
            reply.keep_alive = True


cdef inline void end_of_head(Reply *reply) noexcept nogil:
    if 100 <= reply.status < 200:  # an interim reply: the real one follows
        reply_start(reply)
        reply.head_size = 1
    elif reply.status == 204 or reply.status == 304:
        reply.state = REPLY_DONE
    elif reply.chunked:
        reply.state = CHUNK_SIZE_LINE
    elif reply.sized:
        reply.state = BODY_SIZED if reply.left > 0 else REPLY_DONE
    else:
        reply.keep_alive = False
        reply.state = BODY_TO_END


cdef inline int hex_value(char byte) noexcept nogil:
    if 48 <= byte <= 57:
        return byte - 48
    if 97 <= byte <= 102:
        return byte - 87
    if 65 <= byte <= 70:
        return byte - 55
    return -1


cdef inline void read_chunk_size(Reply *reply, const char *line, size_t size) noexcept nogil:
    cdef size_t index = 0
    cdef size_t length = 0
    while index < size and index < 10 and hex_value(line[index]) >= 0:
        length = length * 16 + <size_t>hex_value(line[index])
        index += 1
    if index == 0 or (index < size and line[index] != 59 and line[index] != 32):
        reply.state = REPLY_MALFORMED
        return
    reply.left = length
    reply.state = CHUNK_BODY if length > 0 else TRAILER_LINE


cdef inline void read_line(Reply *reply, const char *line, size_t size) noexcept nogil:
    if size > 0 and line[size - 1] == 13:
        size -= 1
    if reply.state == STATUS_LINE:
        read_status_line(reply, line, size)
    elif reply.state == HEADER_LINE:
        if size == 0:
            end_of_head(reply)
        else:
            read_header_line(reply, line, size)
    elif reply.state == CHUNK_SIZE_LINE:
        read_chunk_size(reply, line, size)
    elif reply.state == CHUNK_END_LINE:
        reply.state = CHUNK_SIZE_LINE if size == 0 else REPLY_MALFORMED
    elif size == 0:
        reply.state = REPLY_DONE


cdef inline size_t feed_line(Reply *reply, const char *data, size_t size) noexcept nogil:
    """Takes bytes up to the end of the line; a line is whole here or kept for the next call."""
    cdef const char *end = <const char *>memchr(data, 10, size)
    cdef size_t taken = size if end == NULL else <size_t>(end - data) + 1
    cdef size_t room = LINE_BYTES_MAX - reply.line_size
    cdef size_t text = taken if end == NULL else taken - 1
    if reply.state <= HEADER_LINE:
        reply.head_size += taken
        if reply.head_size > HEAD_BYTES_MAX:
            reply.state = REPLY_MALFORMED
            return taken
    if end != NULL and reply.line_size == 0:
        read_line(reply, data, text)
        return taken
    text = text if text < room else room
    memcpy(reply.line + reply.line_size, data, text)
    reply.line_size += text
    if end != NULL:
        text = reply.line_size
        reply.line_size = 0
        read_line(reply, reply.line, text)
    return taken


cdef inline size_t feed_body(Reply *reply, size_t size) noexcept nogil:
    cdef size_t taken = size if size < reply.left else reply.left
    reply.left -= taken
    if reply.left == 0:
        reply.state = REPLY_DONE if reply.state == BODY_SIZED else CHUNK_END_LINE
    return taken


cdef inline size_t reply_feed(Reply *reply, const char *data, size_t size) noexcept nogil:
    """Reads on; answers how many bytes belong to this reply. Look at ``state`` afterwards."""
    cdef size_t taken = 0
    while taken < size and reply.state < REPLY_DONE:
        if reply.state == BODY_TO_END:
            return size
        if reply.state == BODY_SIZED or reply.state == CHUNK_BODY:
            taken += feed_body(reply, size - taken)
        else:
            taken += feed_line(reply, data + taken, size - taken)
    return taken
