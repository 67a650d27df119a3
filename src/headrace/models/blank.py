"""A blank model: copy this file, and fill in what raises.  docs/writing-a-model.md is the guide.

If your model says *when* a descriptor is ready, you want `headrace.models.reactor.Readiness`
instead: four verbs, and the reactor makes a Model of it.  This one is for models that take a whole
operation and say when it is *done*.
"""

from __future__ import annotations

from headrace.core.operation import Operation
from headrace.models.contract import Model


class BlankModel(Model):
    """One sentence: who waits, and who copies."""

    name = "blank"
    stevens = "blocking, non-blocking, multiplexing, signal-driven or asynchronous"
    waits = "who waits for the data"
    copies = "who copies it"
    system_calls = ("the", "ones", "you", "make")  # in steady state: opening is not among them
    signals_needed = ()  # such as SIGIO: add_signal_handler() refuses them, a handler would not run
    has_own_clock = False
    looks_for_free = False  # does wait(0) cost no system call where nothing has happened?
    capabilities = {  # noqa: RUF012
        "edge_triggered": False,  # speaks on the change, not on the state
        "cancels_at_once": False,  # cancel() always answers CANCEL_CANCELLED
        "multishot": False,  # one submission, many completions, without being asked again
        "batches": False,  # one system call for many operations
        "regular_files": False,  # can wait for descriptors of regular files
        "file_operations": False,  # does a FileOperation itself; else a thread does
        "prompt": True,  # what the kernel can do at once has completed by the next turn
        "descriptor_max": None,  # the largest descriptor, None where there is no limit
    }

    @classmethod
    def available(cls) -> str | None:
        """None if this kernel and process offer what you need, else the reason, for people."""
        raise NotImplementedError

    def open(self) -> None:
        """Make what the kernel needs, and set is_open.  Called once, when the loop is made.

        If it cannot be had, raise OSError: it shows while there is still a choice.  Call
        make_pool() before the first receive operation comes.
        """
        raise NotImplementedError

    def bind(self) -> None:
        """This thread is going to run the loop: perhaps another than last time, or a forked child.

        In a child, make what you need anew; what you have is shared with the parent.
        """
        raise NotImplementedError

    def unbind(self) -> None:
        """This thread runs the loop no more, or is about to start a child; bind() follows.

        What the thread blocks for you, a child would inherit.
        """
        raise NotImplementedError

    def submit(self, operation: Operation) -> int:
        """Take an operation.  It is yours until its terminal completion.

        SUBMIT_COMPLETED: it is done already, its result stands in operation.result, and you say
        nothing more about it.  SUBMIT_PENDING: you will call complete(), in wait() or in the
        loop's turn, once; a multishot operation (goes_on() says whether it does) any number of
        times with more=True, then once without.  Operations of one descriptor and direction are
        done in the order they came.  Raise OSError for what you will never be able to do.

        A `composed` operation must not take data unless it delivers it: wait until its
        descriptor is ready, then call perform_soon() and forget it; if it was not done after all,
        or is multishot and goes on, it is submitted again.

        A ReceiveDatagramsOperation takes what it performs into objects of its own: queue its
        completions in the order in which you performed them.
        """
        raise NotImplementedError

    def cancel(self, operation: Operation) -> int:
        """Stop an operation that you have and whose end you have not queued.

        CANCEL_CANCELLED: it will not complete, and you will not touch its memory again.
        CANCEL_PENDING: it still will, once: with complete_cancelled(), or with the result that
        it had; until then its memory stays yours.
        """
        raise NotImplementedError

    def wait(self, timeout_s: float) -> None:
        """Call complete() for what is done; if nothing is, wait for that at most *timeout_s*.

        Negative: for ever.  Zero: not at all.  Never return late because a callback is ready:
        the loop passes zero then.  Interrupted by a signal: return.  In a forked child that has
        not called bind(): raise RuntimeError.  There is no verb to wake you: the loop receives
        on a socket pair of its own, an operation like any other.
        """
        raise NotImplementedError

    def flush(self) -> None:
        """Hand over at once what was submitted or cancelled: a close(2) is about to follow."""
        raise NotImplementedError

    def lend(self, fd: int) -> None:
        """The owner of *fd* lets others call the kernel with it; their calls must not block.

        sendfile(2) has no flag for that: what you have made blocking, make non-blocking again.
        """
        raise NotImplementedError

    def forget(self, fd: int) -> None:
        """The owner of *fd* is about to close it; its number may come back as another's."""
        raise NotImplementedError

    def takes_file(self, kind: int) -> bool:
        """Do you do a FileOperation of that kind?  Asked only if you declare file_operations.

        It is neither composed nor eager, and never ready: do it, and complete it with its result.
        If cancel() comes too late to stop it, say what has happened, not -ECANCELED.
        """
        raise NotImplementedError

    def time(self) -> float:
        """Your own clock in seconds; asked only if has_own_clock is true.  Leave it out."""
        raise NotImplementedError

    def close(self) -> None:
        """Clear is_open, and give everything back.  May be called twice.

        Nothing of yours may write into an operation's memory afterwards.  Queue the end of
        what is in flight with complete_cancelled(): nobody runs it, but buffers come back.
        """
        raise NotImplementedError
