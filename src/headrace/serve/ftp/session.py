"""One FTP session: commands in, carried out, answered; callbacks, and no task.

Decisions.

* No timer: the worker's sweeper calls `sweep()` every few seconds, and that is when limits count.
* What a session needs seldom (rendezvous, transfer) is made then, and forgotten: ten thousand idle
  ones must cost little.
* 226 means that everything is with the kernel.  The data connection itself is kept until the client
  has taken it (`Lingering`), which the next command of the client, or the sweeper, finds out.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from headrace.serve.ftp.actions import ACTIONS
from headrace.serve.ftp.control import Control
from headrace.serve.ftp.core import Command
from headrace.serve.ftp.failures import DENIED, reply_to_error
from headrace.serve.ftp.lingering import Lingering
from headrace.serve.ftp.replies import Reply, reply
from headrace.serve.ftp.transfer import ABORTED, Transfer
from headrace.serve.meters import Meter
from headrace.serve.paths import BadPath

if TYPE_CHECKING:
    from headrace.serve.ftp.passive import Rendezvous
    from headrace.serve.tree import Tree
    from headrace.serve.worker import Worker

__all__ = ["Session"]

# Of one client: data connections that have everything sent and not everything taken.  Who takes
# nothing and asks for the next file all the time gets what it does not take reset.
LINGERING_MAX = 4
# Then the others have their turn: after so many commands, or at the end of the one that was running
# when so much time was over (a folder of some hundred names takes as long).
COMMANDS_PER_TURN_MAX = 64
TURN_S_MAX = 0.002
# So many bytes of replies are not gathered any further.
OUT_BYTES_MAX = 64 * 1024
# Of one address; then they are gathered.
REFUSALS_AT_ONCE = 10
PERMISSION_DENIED = "Permission denied"
MISTAKE = (451, "The server has made a mistake; it is logged.")


class Session(Control):
    """A client: made by a listener, gone with the connection."""

    __slots__ = (
        "attempts",
        "lingering",
        "lingering_elsewhere",
        "meeting",
        "rendezvous",
        "stop_job",
        "transfer",
        "tree",
        "waits_for_turn",
        "working",
    )

    def __init__(self, worker: Worker, *, implicit_tls: bool = False) -> None:
        super().__init__(worker, implicit_tls=implicit_tls)
        self.tree: Tree | None = None
        self.rendezvous: Rendezvous | None = None  # where the next transfer will meet the client
        self.meeting: Rendezvous | None = None  # where the present one waits for it
        self.transfer: Transfer | None = None
        self.lingering: Lingering | None = None  # the latest one; the worker looks after the others
        self.lingering_elsewhere = 0
        self.stop_job: list[bool] | None = None  # HASH: set its item to end it
        self.attempts = 0
        self.working = False
        self.waits_for_turn = False  # with the worker

    def __repr__(self) -> str:
        return (
            f"<Session {self.address} {self.core!r} transfer={self.transfer!r}"
            f" closing={self.closing} draining={self.draining}>"
        )

    def data_received(self, data: bytes) -> None:
        self.active_s = time.monotonic()
        if self.closing:
            return
        if self.lingering is not None and self.lingering.drained():
            self.lingering = None
        self.core.receive(data)
        self.work()

    # Commands and replies.

    def work(self) -> None:
        """Carry out what can be carried out now; called again within itself it does nothing."""
        if self.working or self.upgrading:
            return
        if not self.waits_for_turn:
            self.take_turn()
        self.flush()
        paused = self.core.paused
        if paused is self.reading and not self.closing and not self.upgrading:
            self.pause_or_resume(paused)

    def turn_comes(self) -> None:
        """What the worker calls."""
        self.waits_for_turn = False
        self.work()

    def take_turn(self) -> None:
        self.working = True
        core = self.core
        left = COMMANDS_PER_TURN_MAX
        over_s = time.monotonic() + TURN_S_MAX
        try:
            while not self.closing and not self.stuck_s:
                item = core.next_command()
                if item is None:
                    break
                if isinstance(item, Reply):
                    self.out += item.data
                    if core.denied is not None:
                        self.log_denied(*core.denied, "no_right")
                        core.denied = None
                    if item.closes:
                        self.finish()
                else:
                    self.attempt(item, ACTIONS[item.verb], self, item)
                if len(self.out) >= OUT_BYTES_MAX:
                    self.flush()  # and be told to pause, where the client does not read
                left -= 1
                if not left or time.monotonic() >= over_s:
                    self.waits_for_turn = True
                    self.worker.wait_for_turn(self)
                    break
        finally:
            self.working = False

    def attempt(self, command: Command, action: Callable[..., object], *arguments: object) -> None:
        """Whatever fails has a reply."""
        try:
            action(*arguments)
        except OSError as error:
            self.answer(command, *reply_to_error(error))
        except BadPath as error:
            self.answer(command, 553, f"{error}.")
        except Exception as error:
            self.worker.unexpected(error)
            if self.core.is_running(command):
                self.answer(command, *MISTAKE)

    def perform_later(self, command: Command, action: Callable[[], object]) -> None:
        """The rest of a command, from a callback: if session and command are still there."""
        if not self.closing and self.core.is_running(command):
            self.attempt(command, action)
            self.work()

    def answer(self, command: Command, code: int, text: str) -> None:
        """The final reply to a command."""
        if code == 550 and text.startswith(PERMISSION_DENIED):
            why = "no_right" if text != DENIED[1] else "not_permitted"
            self.log_denied(command.verb, command.argument, why)
        self.send(command, reply(code, text))

    def log_denied(self, verb: str, argument: str, reason: str) -> None:
        """Else nobody could say why a client cannot do what it asks for, or that it probes."""
        user = self.core.state.user
        self.worker.log.repeated(
            "ftp_refused",
            address=self.address,
            at_once=REFUSALS_AT_ONCE,
            command=verb,
            argument=argument,
            reason=reason,
            user=None if user is None else user.name,
        )

    def send(self, command: Command, made: Reply) -> None:
        self.out += made.data
        self.core.completed(command, made.code)
        self.worker.commands += 1

    def answer_later(self, command: Command, code: int, text: str) -> None:
        """answer(), from a callback: if the session and the command are still there."""
        if not self.closing and self.core.is_running(command):
            self.answer(command, code, text)
            self.work()

    # Transfers.

    def protects_data(self) -> bool:
        return self.core.state.protected

    def begin(self, command: Command, transfer: Transfer) -> None:
        """Start a transfer, now or once the client has connected."""
        rendezvous = self.rendezvous
        assert rendezvous is not None  # refuse_data() has looked
        self.rendezvous = None
        self.transfer = transfer
        self.worker.transfer_begins(transfer)
        self.out += reply(150, transfer.beginning()).data
        if self.lingering is not None:
            self.hand_over(self.lingering)
        try:
            sock = rendezvous.take_nowait()
            if sock is not None:
                transfer.start(sock)
                return
            self.meeting = rendezvous
            rendezvous.wait(self.connected, self.not_connected)
        except OSError as error:
            rendezvous.close()
            self.not_connected(error)

    def connected(self, sock: socket.socket) -> None:
        self.meeting = None
        if self.transfer is None:
            sock.close()
        else:
            self.transfer.progress.begin(time.monotonic())
            self.transfer.start(sock)

    def not_connected(self, error: OSError) -> None:
        self.meeting = None
        if self.transfer is not None:
            self.transfer.fail_as("not_connected", 425, f"No data connection: {error.strerror}.")

    def transfer_ended(self, transfer: Transfer, code: int, text: str) -> None:
        """What a transfer calls, once."""
        self.worker.transfer_ends(transfer)
        self.transfer = None
        if self.meeting is not None:
            self.meeting.close()
            self.meeting = None
        self.active_s = time.monotonic()
        command = self.core.running
        if command is None or self.closing:
            return
        self.answer(command, code, text)
        waiting = transfer.waiting_command()
        if waiting is not None:
            self.answer(waiting, 226, "It has ended.")
        if self.draining:
            self.say_goodbye()
        self.work()

    def linger(self, lingering: Lingering) -> None:
        """A data connection has everything sent."""
        self.lingering = lingering
        if self.transport is None:
            self.hand_over(lingering)

    def hand_over(self, lingering: Lingering) -> None:
        """The session has other things to do: the worker looks after it."""
        self.lingering = None
        if lingering.drained():
            return
        if self.lingering_elsewhere < LINGERING_MAX:
            lingering.join_worker()
        else:
            lingering.abort()

    def stop_working(self) -> None:
        """Whatever runs for the client is of no use any more."""
        if self.stop_job is not None:
            self.stop_job[0] = True
            self.stop_job = None
        if self.transfer is not None:
            self.transfer.fail_as("session_ended", 426, ABORTED)
        for rendezvous in (self.meeting, self.rendezvous):
            if rendezvous is not None:
                rendezvous.close()
        self.meeting = self.rendezvous = None
        if self.lingering is not None and self.closing:
            self.hand_over(self.lingering)

    # Ends.

    def drain(self) -> None:
        """No new transfer; closes when the running one has ended."""
        self.draining = True
        if self.transfer is None and not self.closing:
            self.say_goodbye()

    def abort(self) -> None:
        """The end, at once, and of its last data connection: the worker is not to wait for it."""
        lingering, self.lingering = self.lingering, None
        if lingering is not None and not lingering.drained():
            lingering.abort()
        super().abort()

    def sweep(self, now: float) -> None:
        """Called every few seconds: is one of the times over?"""
        limits = self.worker.limits
        if self.lingering is not None and self.lingering.sweep(now):
            self.lingering = None
        transfer = self.transfer
        if self.closing:
            # The client does not read the last reply, or does not answer close_notify.
            if now - self.active_s >= limits.stall_timeout_s:
                self.abort()
        elif self.stuck_s and now - self.stuck_s >= limits.stall_timeout_s:
            self.site.meters.add(Meter.TIMEOUTS)
            self.worker.log.event("replies_not_read", address=self.address)
            self.abort()
        elif transfer is not None:
            if self.meeting is None:
                transfer.sweep(now)
            elif now - transfer.progress.began_s >= limits.data_connection_timeout_s:
                self.site.meters.add(Meter.TIMEOUTS)
                transfer.fail_as("not_connected", 425, "The data connection did not come in time.")
        elif not self.core.state.logged_in:
            if now - self.began_s >= limits.login_timeout_s:
                self.time_out("login_timeout")
        elif (
            self.core.running is None
            and self.lingering is None
            and now - self.active_s >= limits.idle_timeout_s
        ):
            self.time_out("idle_timeout")
