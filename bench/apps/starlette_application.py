"""A Starlette application for uvicorn; it knows nothing of headrace."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def hello(request: Request) -> JSONResponse:
    return JSONResponse({"hello": "world"})


application = Starlette(routes=[Route("/", hello)])
