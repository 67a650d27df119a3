"""headrace behind asyncio's own names: what ``headrace run`` makes the default.

asyncio looks up ``asyncio.DefaultEventLoopPolicy`` at the moment it first needs a policy, and again
after ``set_event_loop_policy(None)``.  So replacing that one name makes headrace the default of
asyncio.run(), asyncio.Runner, new_event_loop() and get_event_loop() without setting a policy:
a program that sets one of its own (uvloop's, for example) keeps it.

``asyncio.SelectorEventLoop`` is replaced as well, because servers such as uvicorn name it when they
mean "asyncio's loop".
"""

import asyncio
from asyncio import DefaultEventLoopPolicy
from asyncio import SelectorEventLoop as StockEventLoop
from types import ModuleType
from typing import Any

import headrace

__all__ = ["EventLoopPolicy", "SelectorEventLoop", "make_default", "make_default_of_uvicorn"]


class EventLoopPolicy(DefaultEventLoopPolicy):
    """asyncio's default policy (child watchers included), but its new loops are headrace's."""

    # The hook that policies override, uvloop's among them.  Overriding new_event_loop() instead
    # would take the loop away from a program's own policy derived from this class.
    def _loop_factory(self) -> asyncio.AbstractEventLoop:
        return headrace.new_event_loop()


class _SelectorEventLoopType(type):
    """The type of SelectorEventLoop: calling it bare, or asking what is an instance of it."""

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        if cls is SelectorEventLoop and not arguments and not keywords:
            return headrace.new_event_loop()
        return super().__call__(*arguments, **keywords)

    def __instancecheck__(cls, instance: object) -> bool:
        if cls is SelectorEventLoop and isinstance(instance, (headrace.EventLoop, StockEventLoop)):
            return True
        return super().__instancecheck__(instance)


class SelectorEventLoop(StockEventLoop, metaclass=_SelectorEventLoopType):
    """Called bare, headrace's loop; with a selector, or as a base class, asyncio's own.

    A program that passes a selector or derives a class depends on asyncio's inner workings, so it
    gets them.
    """


def make_default() -> None:
    """Make every loop that asyncio makes by default, in this process, a headrace loop."""
    names = {"DefaultEventLoopPolicy": EventLoopPolicy, "SelectorEventLoop": SelectorEventLoop}
    if hasattr(asyncio, "EventLoop"):  # since Python 3.13
        names["EventLoop"] = SelectorEventLoop
    for name, value in names.items():
        setattr(asyncio, name, value)


def make_default_of_uvicorn(auto: ModuleType) -> None:
    """Let uvicorn's ``--loop auto``, its default, mean what it means where uvloop is missing.

    *auto* is the module uvicorn.loops.auto.  It takes uvloop wherever that can be imported, which
    nobody asked for; ``--loop uvloop`` is a request, and is met.
    """
    from uvicorn.loops import asyncio as stock

    # Its name since uvicorn 0.36, and before.
    for mine, plain in [
        ("auto_loop_factory", "asyncio_loop_factory"),
        ("auto_loop_setup", "asyncio_setup"),
    ]:
        if hasattr(auto, mine) and hasattr(stock, plain):
            setattr(auto, mine, getattr(stock, plain))
