"""<pthread.h> and <semaphore.h>: threads, their locks, and interrupting one of them."""

from headrace.kernel.time cimport timespec

cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <pthread.h>
    #include <semaphore.h>
    #include <signal.h>
    """
    ctypedef unsigned long pthread_t

    ctypedef struct pthread_attr_t:
        pass

    ctypedef struct pthread_mutex_t:
        pass

    ctypedef struct pthread_cond_t:
        pass

    ctypedef struct sem_t:
        pass

    int pthread_attr_init(pthread_attr_t *attributes)
    int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t size)
    int pthread_attr_destroy(pthread_attr_t *attributes)
    int pthread_create(
        pthread_t *thread, const pthread_attr_t *attributes,
        void *(*run)(void *) noexcept nogil, void *argument,
    )
    int pthread_join(pthread_t thread, void **answer)
    int pthread_kill(pthread_t thread, int number)

    int pthread_mutex_init(pthread_mutex_t *mutex, const void *attributes)
    int pthread_mutex_destroy(pthread_mutex_t *mutex)
    int pthread_mutex_lock(pthread_mutex_t *mutex)
    int pthread_mutex_unlock(pthread_mutex_t *mutex)
    int pthread_cond_init(pthread_cond_t *condition, const void *attributes)
    int pthread_cond_destroy(pthread_cond_t *condition)
    int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
    int pthread_cond_broadcast(pthread_cond_t *condition)

    int sem_init(sem_t *semaphore, int shared, unsigned int value)
    int sem_destroy(sem_t *semaphore)
    int sem_post(sem_t *semaphore)
    int sem_wait(sem_t *semaphore)
    int sem_trywait(sem_t *semaphore)
    int sem_clockwait(sem_t *semaphore, int clock, const timespec *deadline)
