from headrace.core.file_operation cimport FileOperation


cdef bint is_budget_spent(size_t size) noexcept
cdef object give_way()
