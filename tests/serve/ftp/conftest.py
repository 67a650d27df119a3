"""A core that is driven as a session would drive it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from headrace.serve.ftp.core import Command, Core, Reply, Setup
from headrace.serve.ftp.states import Stage
from headrace.serve.users import Rights, User

ANNE = User("anne", "/", Rights.ALL)


@dataclass
class Driver:
    """Says lines to a core, and completes by code what it hands out."""

    core: Core
    user: User = ANNE
    heard: list[Command | Reply] = field(default_factory=list)

    def receive(self, data: bytes) -> list[Command | Reply]:
        """What comes of it until something must be completed."""
        self.core.receive(data)
        return self.drain()

    def drain(self) -> list[Command | Reply]:
        items = []
        while (item := self.core.next_command()) is not None:
            items.append(item)
        self.heard += items
        return items

    def say(self, line: str) -> Command | Reply:
        """One line, and the one thing that comes of it."""
        [item] = self.receive(line.encode("utf-8", "surrogateescape") + b"\r\n")
        return item

    def code(self, line: str) -> int:
        """The code of the core's own answer."""
        item = self.say(line)
        assert isinstance(item, Reply), item
        return item.code

    def text(self, line: str) -> str:
        item = self.say(line)
        assert isinstance(item, Reply), item
        return item.data.decode()

    def command(self, line: str) -> Command:
        item = self.say(line)
        assert isinstance(item, Command), item
        return item

    def do(self, line: str, code: int) -> Command:
        """A line that the session answers with `code`."""
        command = self.command(line)
        if command.verb in ("USER", "PASS") and code == 230:
            self.core.state.log_in(self.user)
        self.core.completed(command, code)
        return command

    def log_in(self) -> Driver:
        self.do(f"USER {self.user.name}", 331)
        self.do("PASS secret", 230)
        assert self.core.state.stage is Stage.LOGGED_IN
        return self


@pytest.fixture
def driver() -> Callable[..., Driver]:
    def make(rights: Rights = Rights.ALL, tls: bool = False, **setup: object) -> Driver:
        core = Core(Setup(**setup), tls=tls)  # type: ignore[arg-type]
        return Driver(core, User("anne", "/", rights))

    return make


@pytest.fixture
def logged_in(driver: Callable[..., Driver]) -> Driver:
    return driver().log_in()
