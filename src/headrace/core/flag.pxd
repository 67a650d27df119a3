# A truth of one byte.  Cython's bint is an int, and what each connection has of its own has up to a
# dozen of them.
cdef extern from *:
    ctypedef bint flag "unsigned char"
