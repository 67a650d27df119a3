"""An aiohttp application that knows nothing of headrace.  aiohttp_application.py PORT"""

import hashlib
import sys

from aiohttp import web


async def hello(request: web.Request) -> web.Response:
    return web.json_response({"hello": "world"})


async def download(request: web.Request) -> web.FileResponse:
    return web.FileResponse(request.query["path"])


async def upload(request: web.Request) -> web.Response:
    digest = hashlib.sha256()
    async for chunk in request.content.iter_any():
        digest.update(chunk)
    return web.Response(text=digest.hexdigest())


application = web.Application()
application.router.add_get("/", hello)
application.router.add_get("/download", download)
application.router.add_put("/upload", upload)

if __name__ == "__main__":
    web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
