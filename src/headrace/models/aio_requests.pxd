from headrace.kernel.aio cimport aiocb

cdef enum:
    READ_BYTES = 65536
    # So many uses of a request are told apart by what their signals bring; and so it is aligned.
    TAGS = 256


# Where the signals' handler finds the loop.  Never freed, so that a late signal finds it too.
cdef struct Inbox:
    void *done                 # a stack of requests, through their `next_done`
    void *shared               # the Shared of the loop's workers; NULL when it is closed
    int handlers               # how many are in it just now
    Request *free_requests
    Inbox *next                # in the list of those that no loop has


# One aio_read(3) or aio_write(3), with memory of its own.  Never freed: taken again.
cdef struct Request:
    aiocb block
    Inbox *inbox               # for ever: a late signal finds the loop that may have it again
    char *memory               # OWNS: READ_BYTES for reads; BORROWS the operation's for writes
    char *read_memory
    int connection             # its descriptor
    int fd                     # the one that glibc is given
    bint is_read
    bint is_running            # begun, and its result not taken yet
    int looks                  # how often it was found under way
    int doubts                 # how often it was found with EAGAIN, and no signal had come
    int tag                    # of this use
    int told                   # tag of the use whose signal came last
    void *operation            # BORROWS: in flight; NULL when nobody waits for it any more
    void *next_done
    int is_pushed              # on the stack: once only
    Request *next              # in the list of those that are free


cdef int prepare_process() except -1
cdef bint unblock_completions() noexcept
cdef void block_completions() noexcept
cdef void begin(Request *request, void *operation, int connection, int fd, bint is_read) noexcept
cdef bint is_told(Request *request) noexcept
cdef int ask_for(Request *request, size_t length) noexcept
cdef Request *take_done(Inbox *inbox) noexcept
cdef void push(Inbox *inbox, Request *request) noexcept nogil
cdef Inbox *new_inbox(void *shared) except NULL
cdef void give_inbox_back(Inbox *inbox) noexcept
cdef bint is_room_for_one() noexcept
cdef int count_made() noexcept
cdef Request *new_request(Inbox *inbox) except NULL
cdef void give_request_back(Request *request) noexcept
cdef void wait_for(Request *request) noexcept
