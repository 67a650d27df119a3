"""TLS for a connection: whose code it is.

headrace's own where the context is Python's `ssl.SSLContext` itself; `asyncio.sslproto` for all
that only looks like one (subclasses, which may wrap as they like, pyOpenSSL and the like).
"""

import os
import ssl
from asyncio import BaseProtocol, sslproto
from typing import Any

from headrace.loop.tls_transport import tls_transport

# "asyncio" takes asyncio.sslproto, "ssl" works without calls of OpenSSL; nothing is "as fast as it
# can be".  For finding out whose fault something is.
VARIABLE = "HEADRACE_TLS"
KINDS = ("", "asyncio", "ssl")

_Context, _Object = ssl.SSLContext, ssl.SSLObject


def tls_protocol(
    loop: Any,
    protocol: BaseProtocol,
    context: Any,
    waiter: Any,
    server_side: bool = False,
    server_hostname: str | None = None,
    *,
    call_connection_made: bool = True,
    ssl_handshake_timeout: Any = None,
    ssl_shutdown_timeout: Any = None,
) -> Any:
    """The protocol that a transport is given to speak TLS; `_app_transport` is *protocol*'s."""
    if not context:
        context = sslproto._create_transport_context(server_side, server_hostname)
    kind = os.environ.get(VARIABLE, "")
    if kind not in KINDS:
        raise ValueError(f"{VARIABLE}={kind}: must be asyncio or ssl, or not be set")
    if kind == "asyncio" or not is_plain(context):
        return sslproto.SSLProtocol(
            loop,
            protocol,
            context,
            waiter,
            server_side,
            server_hostname,
            call_connection_made=call_connection_made,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
    return tls_transport(
        loop,
        protocol,
        context,
        waiter,
        server_side,
        server_hostname,
        ssl_handshake_timeout,
        ssl_shutdown_timeout,
        call_connection_made,
        kind,
    )


def is_plain(context: Any) -> bool:
    """Does *context* make the objects that ssl.SSLContext makes?"""
    return type(context) is _Context and context.sslobject_class is _Object
