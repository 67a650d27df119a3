"""Importing this module is the check that headrace is in the main interpreter.

A native module's state is the process's.  In a second interpreter, objects of one would be handed
to the other; and a sub-interpreter that came first would leave the main one without headrace.  So
it is said here, before the first native module is loaded.
"""

try:
    import _interpreters  # type: ignore[import-not-found,unused-ignore]
except ImportError:  # before Python 3.13
    try:
        import _xxsubinterpreters as _interpreters  # type: ignore[import-not-found,no-redef,unused-ignore]
    except ImportError:  # a Python without sub-interpreters
        _interpreters = None

if _interpreters is not None and _interpreters.get_current() != _interpreters.get_main():
    raise ImportError(
        "headrace runs in the main interpreter only, not in a sub-interpreter; "
        "use threads or processes, each with a loop of its own"
    )
