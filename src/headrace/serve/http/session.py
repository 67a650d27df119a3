"""One HTTP connection's requests: callbacks and slots, no task.

The core reads requests, one at a time; `answering` decides what the answer is; `Connection` sends
it, and `Receiving` takes bodies.  A client that pipelines is answered in order, and is not read
from while it has sent more than is worked at.
"""

from __future__ import annotations

import asyncio
import math
import ssl
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
    SHAKING_HANDS,
    STATES,
    WORKING,
)  # fmt: skip
from headrace.serve.http.core import BodyPart, EndOfBody, Fault, Request
from headrace.serve.http.pace import Progress
from headrace.serve.http.receiving import STATUS_REASONS, UNWANTED_BYTES_MAX, Receiving
from headrace.serve.http.refusals import refusal
from headrace.serve.http.uploads import Uploading
from headrace.serve.logs import reason_of
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
        implicit_tls: the transport is plain, and TLS begins once the gate has let the client in:
            who is let in by nobody, or says nothing, costs no handshake and is counted.
    """

    __slots__ = (
        "_admitted", "_draining", "_handshake", "_implicit_tls", "_keep_alive", "_login_logged",
        "_registry", "_scheduled", "_status_only",
    )  # fmt: skip

    def __init__(
        self,
        site: Site,
        *,
        registry: set[Any] | None = None,
        executor: Executor | None = None,
        status_only: bool = False,
        implicit_tls: bool = False,
    ) -> None:
        super().__init__(site, executor)
        self._registry = registry
        self._status_only = status_only
        self._implicit_tls = implicit_tls
        self._handshake: asyncio.Task[None] | None = None
        self._admitted = self._draining = False
        self._keep_alive = True
        self._scheduled = False  # the loop calls _advance_on(): nobody else is to advance
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
            if not self._implicit_tls:
                answer = text(503, why_not, b"Retry-After: 10\r\n")
                self._transport.write(head(answer, minor=1, keep_alive=False) + _body(answer))
            self._close()
            return
        self._admitted = True
        site.meters.add(Meter.CONNECTIONS)
        self._count(1)
        if self._implicit_tls:
            self._state = SHAKING_HANDS
            # Nothing is read until the transport below TLS reads for it.
            self._transport.pause_reading()
            self._handshake = self._loop.create_task(self._shake_hands())

    def _count(self, amount: int) -> None:
        meters = self._site.meters
        meters.add(Meter.CLIENTS, amount)
        meters.add(Meter.HTTP_SESSIONS, amount)
        if self._tls:
            meters.add(Meter.TLS_SESSIONS, amount)

    async def _shake_hands(self) -> None:
        """Before it has ended data may come: the first request, in the segment that ends it."""
        site, transport = self._site, self._transport
        limits = site.settings.limits
        try:
            assert site.tls is not None
            # The one of now: a certificate that was loaded meanwhile serves at once.
            upgraded = await self._loop.start_tls(
                transport,
                self,
                site.tls,
                server_side=True,
                ssl_handshake_timeout=limits.tls_handshake_timeout_s,
                ssl_shutdown_timeout=limits.stall_timeout_s,
            )
        except (OSError, ssl.SSLError) as error:
            site.log.event("tls_failed", address=self._address, reason=reason_of(error))
            upgraded = None
        finally:
            self._handshake = None
        # asyncio may tell of an abort() by an answer, too, and by no connection_lost().
        if self._state != SHAKING_HANDS or upgraded is None or upgraded.is_closing():
            transport.abort()
            self.connection_lost(None)
            return
        self._transport = upgraded
        self._tls = True
        site.meters.add(Meter.TLS_SESSIONS)
        self._since_s = self._loop.time()
        self._state = READING
        self._advance()

    def connection_lost(self, error: Exception | None) -> None:
        """Also called twice where TLS has failed, by us and by what is below."""
        state, self._state = self._state, CLOSED
        if self._sending is not None:
            self._site.meters.add(Meter.SENDING, -1)
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
        if self._state == SHAKING_HANDS:
            self.abort()
        elif self._state == READING and self._request is None and not self._core.pending_bytes:
            self._close()

    # What the transport tells.

    def data_received(self, data: bytes) -> None:
        self._received_bytes += len(data)
        state = self._state
        if state in (READING, WORKING, SENDING, SHAKING_HANDS):
            self._core.receive(data)
            if state == READING and not self._scheduled:
                self._advance()
            elif state != SHAKING_HANDS:  # that ends in this turn, and it is another transport's
                self._hold_back()
        elif state == LINGERING:
            self._unwanted_bytes += len(data)
            if self._unwanted_bytes > LINGER_BYTES_MAX:
                self.abort()

    def _hold_back(self) -> None:
        """Who sends more than is worked at has to wait: what waits here is memory."""
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
        return not (self._tls or self._implicit_tls)

    # Requests, one after the other.

    def _advance_on(self) -> None:
        """From the loop, which has been to the others meanwhile."""
        self._scheduled = False
        self._advance()

    def _advance(self) -> None:
        """Until there is nothing more, or something takes its time.

        Or until the connection has had its turn: then nothing but the next one goes on, else each
        event of the transport would be a turn more.
        """
        if self._scheduled:
            return
        turn = 0
        core = self._core
        while self._state == READING and not self._paused and not self._upload_waits():
            if turn == REQUESTS_PER_TURN_MAX:
                self._scheduled = True
                self._loop.call_soon(self._advance_on)
                break
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
        if self._state == READING:
            self._hold_back()

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
        elif site.settings.tls_required and not self._tls and not self._status_only:
            self._send(refusal(403, _by_https_only(site), request))
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
            return
        locked_out = site.gate.login_refused(self._address)
        known = None
        # Who is locked out is not looked at, or it could guess what others have logged in with; but
        # who had logged in before stays.
        if not locked_out or claimed[0] == self._login_logged:
            known = site.users.recall(*claimed)
        if known is not None:
            self._perform_for(known, request)
        elif locked_out:
            after = b"Retry-After: %d\r\n" % math.ceil(site.settings.limits.login_lockout_s)
            self._send(refusal(429, "too many failed logins", request, after))
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
        if self._state == WORKING and not self._transport.is_closing():
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
        first = head(answer, minor=minor, keep_alive=self._keep_alive)
        self._send_out(first, answer, self._rate_max())

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


def _by_https_only(site: Site) -> str:
    """Decision.  It is no redirection: what was asked for, and perhaps a password with it, has been
    read on the way already, and a client that is led on quietly does so for ever.  Nor need the
    port that we listen at be the one that clients see.
    """
    https = site.settings.https
    where = f", at port {https.port}" if https is not None and https.port else ""
    return f"nothing is served without TLS: ask by https{where}"


def _body(answer: Answer) -> bytes:
    return b"".join(piece for piece in answer.pieces if isinstance(piece, bytes))
