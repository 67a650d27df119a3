from headrace.core.file_operation cimport FileOperation


cdef bint is_budget_spent(size_t size) noexcept
cpdef bint is_turn_over() noexcept
cpdef object give_way()
