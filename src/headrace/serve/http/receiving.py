"""What takes its time: work in threads, and bodies that come in; and what is told of transfers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from headrace.serve.http.answers import CONTINUE, Answer
from headrace.serve.http.connection import READING, WORKING, Connection
from headrace.serve.http.core import Core, HeadLimits, Request
from headrace.serve.http.figures import TransferStatus
from headrace.serve.http.pace import Pace, Progress
from headrace.serve.http.refusals import BUSY, UNEXPECTED, is_unexpected, of_error, refusal
from headrace.serve.http.uploads import TooLarge, Uploading
from headrace.serve.logs import Transfer, reason_of
from headrace.serve.meters import Meter
from headrace.serve.users import User

if TYPE_CHECKING:
    from headrace.serve.site import Site

# A body that nobody wants is read to its end if it is no longer than this: then the connection can
# be used again.
UNWANTED_BYTES_MAX = 256 * 1024
RETRY_SOON = b"Retry-After: 10\r\n"
# What says that an upload has its name.
COMMITTED = (201, 204)
# What the log calls the end of an upload otherwise.
STATUS_REASONS = {408: "stalled", 412: "changed_meanwhile", 413: "too_large", 507: "quota"}


class Receiving(Connection):
    """One request at a time, and what it needs besides an answer."""

    __slots__ = ("_began_s", "_core", "_executor", "_request", "_uploading", "_user")

    def __init__(self, site: Site, executor: Executor | None) -> None:
        super().__init__(site)
        limits = site.settings.limits
        self._core = Core(
            HeadLimits(limits.line_bytes_max, limits.head_bytes_max, limits.fields_max)
        )
        self._executor = executor
        self._began_s = 0.0
        self._request: Request | None = None
        self._user: User | None = None
        self._uploading: Uploading | None = None

    def _send(self, answer: Answer) -> None:
        """The answer to the present request, or to what was none."""
        raise NotImplementedError

    # Threads.

    def _in_thread(
        self,
        work: Callable[[], Any],
        then: Callable[[Any], None],
        gone: Callable[[Any], None] | None = None,
    ) -> None:
        """`then` gets the outcome; or `gone`, where the connection has gone meanwhile."""
        limits = self._site.settings.limits
        busy = self._site.meters.get(Meter.JOBS) >= limits.threads_max + limits.jobs_queued_max
        # What has been uploaded is not thrown away for that.
        if busy and self._uploading is None and self._request is not None:
            self._send(refusal(*BUSY, self._request, RETRY_SOON))
            return
        self._state = WORKING
        self._site.meters.add(Meter.JOBS)
        future = self._loop.run_in_executor(self._executor, work)
        future.add_done_callback(lambda done: self._thread_ended(done, then, gone or self._let_go))

    def _thread_ended(
        self,
        done: asyncio.Future[Any],
        then: Callable[[Any], None],
        gone: Callable[[Any], None],
    ) -> None:
        self._site.meters.add(Meter.JOBS, -1)
        error = None if done.cancelled() else done.exception()
        if self._state != WORKING or self._transport.is_closing() or done.cancelled():
            # The connection has gone meanwhile.
            if not done.cancelled() and error is None:
                gone(done.result())
            self._drop_upload(self._why_ended)
            return
        self._state = READING
        if error is None:
            then(done.result())
        else:
            self._drop_upload(reason_of(error))
            self._failed(error)
        self._advance()

    def _let_go(self, outcome: object) -> None:
        """What a thread has made for a connection that is there no more."""
        if isinstance(outcome, Answer):
            outcome.close()
            if self._uploading is not None:
                self._upload_ended(_reason_of_status(outcome.status))
        elif isinstance(outcome, Uploading):
            outcome.discard()

    def _failed(self, error: BaseException) -> None:
        request = self._request
        assert request is not None
        if not isinstance(error, OSError) or is_unexpected(error):
            self._site.meters.add(Meter.ERRORS)
            self._site.log.event("http_error", address=self._address, error=repr(error))
        if isinstance(error, OSError):
            self._send(of_error(error, request))
        else:
            self._send(refusal(*UNEXPECTED, request))

    # Bodies that come in.

    def _rate_max(self) -> int | None:
        """Bytes a second, up or down; None: as fast as it goes.  Of two maxima both hold."""
        of_all = self._site.settings.limits.rate_bytes_per_s_max
        of_user = None if self._user is None else self._user.rate_bytes_per_s_max
        if of_all is None or of_user is None:
            return of_user if of_all is None else of_all
        return min(of_all, of_user)

    def _receive_upload(self, uploading: Uploading) -> None:
        request = self._request
        assert request is not None
        self._uploading = uploading
        self._received_bytes = self._core.pending_bytes
        self._began_s = self._loop.time()
        self._progress = Progress(self._began_s)
        rate = self._rate_max()
        self._pace = Pace(rate, self._began_s) if rate else None
        self._site.meters.add(Meter.RECEIVING)
        if not request.has_body:
            self._end_of_body()
        elif request.expects_continue and not self._core.pending_bytes:
            self._transport.write(CONTINUE)

    def _take(self, data: bytes) -> None:
        uploading = self._uploading
        if uploading is None:
            self._unwanted_bytes += len(data)
            if self._unwanted_bytes > UNWANTED_BYTES_MAX:
                self._linger()
            return
        self._site.meters.add(Meter.BYTES_RECEIVED, len(data))
        try:
            uploading.take(data)
        except (TooLarge, OSError) as error:
            assert self._request is not None
            if isinstance(error, TooLarge):
                self._drop_upload(_reason_of_status(error.status))
                self._send(refusal(error.status, str(error), self._request))
            else:
                self._drop_upload(reason_of(error))
                self._failed(error)
            return
        if self._pace is not None:
            self._wait_for(self._pace, len(data))

    def _wait_for(self, pace: Pace, count: int) -> None:
        """Take nothing more until *count* bytes are no more than the rate allows.

        The transport is not read from meanwhile, so that the client's end of the connection fills
        up, and the client waits.
        """
        pause_s = pace.spend(count, self._loop.time())
        if pause_s:
            pace.waits = True
            self._transport.pause_reading()
            self._loop.call_later(pause_s, self._take_on, pace)

    def _take_on(self, pace: Pace) -> None:
        if self._pace is not pace:
            return  # the upload has ended meanwhile
        pace.waits = False
        # A client is not slow for the time that we made it wait.
        self._progress = Progress(self._loop.time())
        self._advance()

    def _upload_waits(self) -> bool:
        return self._pace is not None and self._pace.waits

    def _end_of_body(self) -> None:
        self._progress = None
        if self._uploading is None:
            self._unwanted_bytes = 0
            self._since_s = self._loop.time()
            return
        self._in_thread(self._uploading.commit, self._committed)

    def _committed(self, answer: Answer) -> None:
        self._upload_ended(_reason_of_status(answer.status))
        self._send(answer)

    def _drop_upload(self, reason: str) -> None:
        self._progress = None
        if self._uploading is not None:
            self._uploading.discard()
            self._upload_ended(reason)

    def _upload_ended(self, reason: str) -> None:
        """*reason*: why it has failed; empty: it has not."""
        uploading, self._uploading = self._uploading, None
        self._progress = self._pace = None
        if uploading is not None:
            self._site.meters.add(Meter.RECEIVING, -1)
            self._record(uploading.path, uploading.received_bytes, reason, incoming=True)

    # What is told of transfers.

    def transfer_status(self, now: float) -> TransferStatus | None:
        """The file on its way, for the status page; *now* is the loop's time."""
        sending, uploading = self._sending, self._uploading
        if uploading is not None:
            path, done = uploading.path, uploading.received_bytes
            size = None if self._request is None else self._request.length_bytes
        elif sending is not None and sending.path:
            path, done, size = sending.path, sending.sent_bytes, sending.length_bytes
        else:
            return None
        age_s = now - self._began_s
        return TransferStatus(
            "HTTPS" if self._tls else "HTTP",
            "down" if uploading is None else "up",
            "" if self._user is None else self._user.name,
            self._address, path, done, size, done / age_s if age_s > 0 else 0.0, age_s,
        )  # fmt: skip

    def _record_sent(self, *, complete: bool) -> None:
        sending = self._sending
        if sending is None or not sending.path:
            return
        if complete:
            self._site.meters.add(Meter.FILES_SENT)
        reason = "" if complete else self._why_ended
        self._record(sending.path, sending.sent_bytes, reason, incoming=False)

    def _record(self, path: str, count: int, reason: str, *, incoming: bool) -> None:
        site, user = self._site, self._user
        if reason:
            site.meters.add(Meter.TRANSFERS_FAILED)
        elif incoming:
            site.meters.add(Meter.FILES_RECEIVED)
        name = user.name if user is not None else ""
        served = user.served_path(path) if user is not None else path
        site.log.transfer(
            Transfer(
                served, self._address, count, self._loop.time() - self._began_s, name,
                incoming=incoming, complete=not reason, anonymous=user is None or user.is_anonymous,
                service="https" if self._tls else "http", reason=reason,
            )
        )  # fmt: skip


def _reason_of_status(status: int) -> str:
    """What the log says of an upload that was answered so; empty: it has its name."""
    if status in COMMITTED:
        return ""
    return STATUS_REASONS.get(status, f"status {status}")
