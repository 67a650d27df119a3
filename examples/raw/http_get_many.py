"""Hundreds of HTTP requests at once with aiohttp on headrace's loop, then with a blocking client.

The model is the loop's (headrace run --model M, or $HEADRACE_MODEL). With aiohttp one thread waits
for all connections at once: each coroutine stands still at its await, and all others go on. With
urllib (or requests) the thread itself waits in connect() and recv(), inside a coroutine that never
comes to an await: the loop stands still, timers too, and requests go one after the other.

    python examples/raw/http_get_many.py [--count N] URL
    python examples/raw/http_get_many.py [--count N] --demo    # asks a slow server of its own
"""

import argparse
import asyncio
import http.server
import re
import sys
import threading
import time
import urllib.request

try:
    import aiohttp

    import headrace
except ImportError as error:
    sys.exit(f"{error}: pip install '.[all]' in a clone of headrace")


class Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(0.05)
        self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\nok")  # the reply ends with its connection


async def measure(name, get, url, count):
    """Starts all requests at once, and says how many were under way at the same time."""
    under_way = most = 0

    async def one():
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        size = len(await get(url))
        under_way -= 1
        return size

    began = time.monotonic()
    total = sum(await asyncio.gather(*(one() for _ in range(count))))
    took = time.monotonic() - began
    print(f"{name}: {count} requests, {total} bytes, {most} at once, {took:.2f} s")


async def main(url, count):
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def with_aiohttp(url):
            async with session.get(url) as response:
                return await response.read()

        await measure("aiohttp", with_aiohttp, url, count)

    async def with_urllib(url):
        with urllib.request.urlopen(url) as response:  # waits, and everybody with it
            return response.read()

    await measure("urllib", with_urllib, url, max(1, count // 10))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url", nargs="?", default="", help="what to get; without it --demo")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--demo", action="store_true", help="start a slow server, and ask that")
    arguments = parser.parse_args()
    expected = "" if arguments.demo else r"https?://[^/\s]\S*"
    if not re.fullmatch(expected, arguments.url) or arguments.count < 1:
        sys.exit(f"{arguments.url!r}: expected http://HOST[:PORT]/PATH or --demo, --count from 1")
    if arguments.demo:
        http.server.ThreadingHTTPServer.request_queue_size = 4096
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        arguments.url = f"http://127.0.0.1:{server.server_port}/"
    try:
        headrace.run(main(arguments.url, arguments.count))
    except KeyboardInterrupt:
        pass
    except (OSError, ValueError, headrace.ModelUnavailableError, aiohttp.ClientError) as error:
        sys.exit(f"{arguments.url}: {type(error).__name__}: {error}")
