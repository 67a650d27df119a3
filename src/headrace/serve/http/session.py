"""One HTTP connection's requests: callbacks and slots, no task.

The core reads requests, one at a time; `answering` decides what the answer is; `Connection` sends
it, and `Receiving` takes bodies.  A client that pipelines is answered in order, and is not read
from while it has sent more than is worked at.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace.serve import paths
from headrace.serve.http import access, targets
from headrace.serve.http.answering import Slow, answer_status, answer_to
from headrace.serve.http.answers import Answer, head, text
from headrace.serve.http.connection import (
    CLOSED,
    LINGER_BYTES_MAX,
    LINGERING,
    READING,
    SENDING,
    STATES,
    WORKING,
)  # fmt: skip
from headrace.serve.http.core import BodyPart, EndOfBody, Fault, Request
from headrace.serve.http.pace import Progress
from headrace.serve.http.receiving import STATUS_REASONS, UNWANTED_BYTES_MAX, Receiving
from headrace.serve.http.refusals import refusal
from headrace.serve.http.uploads import Uploading
from headrace.serve.meters import Meter
from headrace.serve.users import User

if TYPE_CHECKING:
    from headrace.serve.site import Site

# Of what has come and is not worked at yet; then the client has to wait.
PENDING_BYTES_MAX = 64 * 1024
# Requests answered in one turn, before the other connections have theirs.
REQUESTS_PER_TURN_MAX = 32
# Of an address, with the same status: lines of their own.  A page with some links that lead nowhere
# is told link by link; a scanner by the number.
REFUSALS_AT_ONCE = 10


class Session(Receiving):
    """A connection from its beginning to its end.

    Args:
        site: what is served, and to whom.
        registry: where the session is found between its beginning and its end: `check()` it.
        executor: the threads for what is slow; None: the loop's own.
        status_only: only the status page is served here, to everybody: a metrics address.
    """

    __slots__ = (
        "_admitted", "_draining", "_keep_alive", "_login_logged", "_registry", "_status_only",
    )  # fmt: skip

    def __init__(
        self,
        site: Site,
        *,
        registry: set[Any] | None = None,
        executor: Executor | None = None,
        status_only: bool = False,
    ) -> None:
        super().__init__(site, executor)
        self._registry = registry
        self._status_only = status_only
        self._admitted = self._draining = False
        self._keep_alive = True
        self._login_logged = ""  # whose login of this connection the log has

    def __repr__(self) -> str:
        return (
            f"<http.Session {self._address} {STATES[self._state]} requests={self._requests} "
            f"request={self._request!r}>"
        )

    # Beginning and end.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        site = self._site
        if self._registry is not None:
            self._registry.add(self)
        why_not = site.gate.admit(self._address)
        if why_not is not None:
            site.meters.add(Meter.REFUSED)
            site.log.repeated("http_refused", address=self._address, why=why_not)
            answer = text(503, why_not, b"Retry-After: 10\r\n")
            self._transport.write(head(answer, minor=1, keep_alive=False) + _body(answer))
            self._close()
            return
        self._admitted = True
        site.meters.add(Meter.CONNECTIONS)
        self._count(1)

    def _count(self, amount: int) -> None:
        meters = self._site.meters
        meters.add(Meter.CLIENTS, amount)
        meters.add(Meter.HTTP_SESSIONS, amount)
        if self._tls:
            meters.add(Meter.TLS_SESSIONS, amount)

    def connection_lost(self, error: Exception | None) -> None:
        state, self._state = self._state, CLOSED
        if self._sending is not None:
            self._site.meters.add(Meter.SENDING, -1 if state == SENDING else 0)
            self._record_sent(complete=False)
            self._sending.close()
        if state != WORKING:
            # Else the thread has it, and whoever waits for the thread lets it go.
            self._drop_upload(self._why_ended)
        if self._admitted:
            self._admitted = False
            self._count(-1)
            self._site.gate.release(self._address)
        if self._registry is not None:
            self._registry.discard(self)
        self._sending = self._progress = None

    def drain(self) -> None:
        """No more requests: the connection closes when what it is doing has been done."""
        self._draining = True
        self._keep_alive = False
        if self._state == READING and self._request is None and not self._core.pending_bytes:
            self._close()

    # What the transport tells.

    def data_received(self, data: bytes) -> None:
        self._received_bytes += len(data)
        state = self._state
        if state == READING:
            self._core.receive(data)
            self._advance()
        elif state == LINGERING:
            self._unwanted_bytes += len(data)
            if self._unwanted_bytes > LINGER_BYTES_MAX:
                self.abort()
        elif state in (WORKING, SENDING):
            self._core.receive(data)
            if self._core.pending_bytes > PENDING_BYTES_MAX:
                self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The peer sends no more, and may still wait for answers: RFC 9112 section 9.6."""
        self._eof = True
        if self._state == LINGERING:
            self._close()
        elif self._state == READING and not self._paused:
            # What came before it is answered still.
            self._advance()
        return not self._tls

    # Requests, one after the other.

    def _advance(self) -> None:
        """Until there is nothing more, or something takes its time."""
        turn = 0
        core = self._core
        while self._state == READING and not self._paused:
            if turn == REQUESTS_PER_TURN_MAX:
                self._loop.call_soon(self._advance)
                return
            event = core.next_event()
            if event is None:
                self._wait_more()
                return
            if type(event) is Request:
                turn += 1
                self._begin(event)
            elif type(event) is BodyPart:
                self._take(event.data)
            elif type(event) is EndOfBody:
                self._end_of_body()
            elif type(event) is Fault:
                self._fault(event)
        if self._state == READING and core.pending_bytes > PENDING_BYTES_MAX:
            self._transport.pause_reading()

    def _wait_more(self) -> None:
        if self._eof:
            self._close()
            return
        if self._core.pending_bytes and not self._in_head and not self._core.in_body:
            self._in_head = True
            self._since_s = self._loop.time()
        if not self._transport.is_reading():
            self._transport.resume_reading()

    def _begin(self, request: Request) -> None:
        site = self._site
        self._request = request
        self._requests += 1
        self._in_head = False
        self._keep_alive = request.keep_alive and not self._draining
        self._user = site.users.anonymous()
        site.meters.add(Meter.REQUESTS)
        if b"expect" in request.fields and not request.expects_continue and request.minor:
            self._send(refusal(417, "nothing but 100-continue is known here", request))
        elif self._status_only:
            self._perform(answer_status(site, request))
        elif b"authorization" in request.fields:
            self._log_in(request, request.fields[b"authorization"])
        else:
            self._perform(answer_to(site, request, self._user, self._address))

    def _log_in(self, request: Request, field: bytes) -> None:
        site = self._site
        claimed = access.credentials(field)
        if claimed is None:
            self._send(refusal(401, "say who you are", request, access.CHALLENGE))
        elif site.settings.tls_required and not self._tls:
            self._send(refusal(403, "passwords are taken by https only", request))
        elif (known := site.users.recall(*claimed)) is not None:
            self._perform_for(known, request)
        elif site.gate.login_refused(self._address):
            self._send(refusal(429, "too many failed logins", request, b"Retry-After: 900\r\n"))
        else:
            name, _ = claimed
            self._in_thread(
                partial(site.users.verify, *claimed),
                partial(self._logged_in, name),
                partial(self._left, name),
            )

    def _perform_for(self, user: User, request: Request) -> None:
        """Who it is is known; it is logged once, since each request says it again."""
        self._user = user
        if user.name != self._login_logged:
            self._login_logged = user.name
            self._site.log.event("http_login", address=self._address, user=user.name)
        self._perform(answer_to(self._site, request, user, self._address))

    def _left(self, name: str, user: User | None) -> None:
        """Who does not wait for the answer has failed all the same."""
        if user is None:
            self._site.login_failed("http_login_failed", self._address, name)

    def _logged_in(self, name: str, user: User | None) -> None:
        site, request = self._site, self._request
        assert request is not None
        if user is not None:
            site.meters.add(Meter.LOGINS)
            self._perform_for(user, request)
            return
        delay_s = site.login_failed("http_login_failed", self._address, name)
        self._state = WORKING
        answer = refusal(401, "that is not right", request, access.CHALLENGE)
        self._loop.call_later(delay_s, self._send_later, answer)

    def _send_later(self, answer: Answer) -> None:
        if self._state == WORKING:
            self._send(answer)
            self._advance()

    def _perform(self, outcome: Answer | Slow | Uploading) -> None:
        if type(outcome) is Slow:
            self._in_thread(outcome.work, self._perform)
        elif type(outcome) is Uploading:
            self._receive_upload(outcome)
        elif type(outcome) is Answer:
            self._send(outcome)

    def _fault(self, fault: Fault) -> None:
        self._drop_upload(STATUS_REASONS.get(fault.status, fault.reason))
        self._request = None
        self._keep_alive = False
        self._site.log.repeated(
            "http_fault", address=self._address, status=fault.status, why=fault.reason
        )
        self._send(text(fault.status, fault.reason))

    # Answers that go out.

    def _send(self, answer: Answer) -> None:
        """The answer to the present request, or to what was none."""
        request = self._request
        minor = 1
        if request is not None:
            if answer.status >= 400:
                self._log_refused(request, answer.status)
            minor = request.minor
            if request.method == b"HEAD":
                answer.without_body()
            if self._core.in_body:
                self._decide_end(request)
        if answer.fd >= 0:
            self._began_s = self._loop.time()
        rate = self._site.settings.limits.rate_bytes_per_s_max
        if self._user is not None:
            rate = self._user.rate_bytes_per_s_max or rate
        self._send_out(head(answer, minor=minor, keep_alive=self._keep_alive), answer, rate)

    def _log_refused(self, request: Request, status: int) -> None:
        user = self._user
        try:
            path = targets.parse(request.target).path
        except targets.BadTarget:
            path = paths.decode(request.target.partition(b"?")[0])  # as it was sent
        else:
            path = path if user is None else user.served_path(path)
        self._site.log.repeated(
            "http_request_refused",
            address=self._address,
            at_once=REFUSALS_AT_ONCE,
            status=status,
            method=request.method.decode("ascii", "replace"),
            path=path,
            user=None if user is None else user.name,
        )

    def _decide_end(self, request: Request) -> None:
        """A body that is not wanted: is it worth to read on, to keep the connection?"""
        waits = request.expects_continue and not self._core.pending_bytes
        if waits or (request.length_bytes or 0) > UNWANTED_BYTES_MAX:
            self._keep_alive = False

    def _answered(self) -> None:
        if self._core.in_body:
            self._progress = Progress(self._since_s)
        if not self._keep_alive:
            if self._request is None or self._core.in_body:
                self._linger()
            else:
                self._close()
        self._request = None


def _body(answer: Answer) -> bytes:
    return b"".join(piece for piece in answer.pieces if isinstance(piece, bytes))
