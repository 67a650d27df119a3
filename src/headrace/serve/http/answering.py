"""What the answer to a request is: at once, or by a thread where it takes long.

Nothing here knows of connections.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from headrace.serve import paths
from headrace.serve.http import status_page, targets, uploads
from headrace.serve.http.access import CHALLENGE
from headrace.serve.http.answers import Answer, text
from headrace.serve.http.core import Request
from headrace.serve.http.files import answer_file
from headrace.serve.http.listing import answer_listing
from headrace.serve.http.refusals import NOT_FOUND, of_error, refusal
from headrace.serve.http.uploads import WRITING, Uploading
from headrace.serve.meters import Meter
from headrace.serve.users import Rights, User

if TYPE_CHECKING:
    from headrace.serve.site import Site

INDEX = "index.html"
STATUS_PATH = "/.status"
FORWARDED = (b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip")
METRICS_PATH = b"/metrics"
STATUS_PATHS = (b"/", STATUS_PATH.encode())
METRICS_FIELDS = b"Content-Type: text/plain; version=0.0.4\r\nCache-Control: no-store\r\n"
READING_METHODS = (b"GET", b"HEAD")


class Slow(NamedTuple):
    """An answer, or an upload that may begin, that takes as long as the disk does."""

    work: Callable[[], Answer | Uploading]


def answer_to(site: Site, request: Request, user: User | None, address: str) -> Answer | Slow:
    """The answer for *user*; None: who has not said who that is."""
    method = request.method
    if method not in READING_METHODS and method not in (b"OPTIONS", b"PUT"):
        return refusal(405, "not here", request, _allow(user))
    if method == b"OPTIONS" and request.target == b"*":
        return Answer(204, _allow(user))
    try:
        target = targets.parse(request.target)
    except targets.BadTarget as error:
        return refusal(error.status, str(error), request)
    if target.path == STATUS_PATH and _is_local(request, address):
        return answer_status(site, request)
    if user is None:
        return refusal(401, "say who you are", request, CHALLENGE)
    if method == b"OPTIONS":
        return Answer(204, _allow(user))
    try:
        if method == b"PUT":
            return _begin_upload(site, request, user, target)
        return _read(site, request, user, target)
    except OSError as error:
        return of_error(error, request)


def answer_status(site: Site, request: Request) -> Answer | Slow:
    """The status page, and at /metrics what Prometheus reads; 404 where nobody gathers figures."""
    gather, metrics = site.status, site.metrics
    if gather is None or request.method not in READING_METHODS:
        return refusal(*NOT_FOUND, request)
    path = request.target.partition(b"?")[0]
    if metrics is not None and path == METRICS_PATH:
        return Slow(lambda: Answer(200, METRICS_FIELDS, metrics().encode("ascii")))
    if path not in STATUS_PATHS:
        return refusal(*NOT_FOUND, request)
    return Slow(lambda: status_page.answer(gather(), request))


def _is_local(request: Request, address: str) -> bool:
    """From this machine, and not by way of a proxy on it that passes on what others ask."""
    return is_loopback(address) and not any(field in request.fields for field in FORWARDED)


def is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def _allow(user: User | None) -> bytes:
    writes = user is not None and bool(user.rights & WRITING)
    return b"Allow: GET, HEAD, OPTIONS, PUT\r\n" if writes else b"Allow: GET, HEAD, OPTIONS\r\n"


def _not_allowed(request: Request, user: User) -> Answer:
    """403; or 401 for who came without a name, and may be allowed it under one."""
    if b"authorization" in request.fields or not user.is_anonymous:
        return refusal(403, "that is not allowed", request)
    return refusal(401, "say who you are", request, CHALLENGE)


def _read(site: Site, request: Request, user: User, target: targets.Target) -> Answer | Slow:
    tree = site.tree_of(user)
    readable = Rights.READ in user.rights
    if not target.is_folder:
        if not readable:
            return _not_allowed(request, user)
        try:
            return answer_file(tree, target.path, request, time.time())
        except IsADirectoryError:
            return _to_folder(target)
    if readable:
        try:
            return answer_file(tree, paths.join(target.path, INDEX), request, time.time())
        except OSError:
            pass  # none, or none for us: the folder itself then
    if Rights.LIST not in user.rights:
        return _not_allowed(request, user)
    site.meters.add(Meter.LISTINGS)
    entries_max = site.settings.limits.listing_entries_max
    return Slow(partial(answer_listing, tree, target, request, entries_max))


def _to_folder(target: targets.Target) -> Answer:
    """Links in a folder's page are relative to it: its URL ends in a slash.

    The location is made of the virtual path, which begins with one slash: "//host" is no path.
    """
    query = b"?" + target.query if target.query else b""
    location = targets.quoted(target.path).encode("ascii") + b"/" + query
    return text(301, "it is a folder", b"Location: %b\r\n" % location)


def _begin_upload(
    site: Site, request: Request, user: User, target: targets.Target
) -> Answer | Slow:
    if not user.rights & WRITING:
        return _not_allowed(request, user)
    fields = request.fields
    if target.is_folder:
        return refusal(409, "a file's name does not end in a slash", request)
    if not request.chunked and request.length_bytes is None:
        return refusal(411, "how long is it?", request)
    # RFC 9110 section 9.3.4: Content-Range is not for PUT, where a client does not know that it is
    # understood; what is in another coding would not be what a GET then says it is.
    if b"content-range" in fields:
        return refusal(400, "a part of a file cannot be put", request)
    if fields.get(b"content-encoding", b"identity").lower() != b"identity":
        return refusal(415, "files are put as they are", request)
    limit = site.settings.limits.upload_bytes_max
    return Slow(partial(uploads.begin, site.tree_of(user), user, target.path, request, limit))
