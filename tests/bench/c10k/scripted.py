"""An FTP server of a few lines that does as told, rightly or wrongly."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

FILE_BYTES = 20_000
REPLIES = {
    "USER": "331 and the password?",
    "PASS": "230 come in",
    "TYPE": "200 octets",
    "CWD": "250 there you are",
}


class ScriptedServer:
    """Right in everything but ``fault``, which names one thing that it does wrongly."""

    def __init__(self, files: Path, fault: str = "") -> None:
        self.files = files
        self.fault = fault
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.sockets = [self.listener]
        self.threads: list[threading.Thread] = []
        self.stopping = threading.Event()
        self.begin(self.accept)

    def begin(self, work, *arguments) -> None:  # type: ignore[no-untyped-def]
        def quietly() -> None:
            with contextlib.suppress(OSError):
                work(*arguments)

        thread = threading.Thread(target=quietly)
        self.threads.append(thread)
        thread.start()

    def accept(self) -> None:
        while True:
            control, _ = self.listener.accept()
            self.sockets.append(control)
            self.begin(self.serve, control)

    def serve(self, control: socket.socket) -> None:
        if self.fault == "greets nobody":
            self.stopping.wait()
            return
        self.say(control, "220-welcome\r\n221 is no code of this reply\r\n220 go on")
        passive: list[socket.socket] = []
        with control.makefile("r", newline="\r\n") as lines:
            for line in lines:
                verb, _, argument = line.strip().partition(" ")
                if self.fault == f"closes at {verb}":
                    control.close()
                    return
                if self.fault != f"silent at {verb}":
                    self.answer(control, passive, verb, argument)

    def say(self, control: socket.socket, reply: str) -> None:
        control.sendall(f"{reply}\r\n".encode())

    def answer(
        self, control: socket.socket, passive: list[socket.socket], verb: str, argument: str
    ) -> None:
        if self.fault == f"refuses {verb}":
            self.say(control, "530 no")
        elif verb in ("PASV", "EPSV"):
            passive.append(socket.create_server(("127.0.0.1", 0)))
            self.sockets.append(passive[-1])
            port = passive[-1].getsockname()[1]
            numbers = f"127,0,0,1,{port // 256},{port % 256}"
            pasv, epsv = f"227 here ({numbers})", f"229 here (|||{port}|)"
            self.say(control, pasv if verb == "PASV" else epsv)
        elif verb == "RETR":
            listener = passive.pop()
            data, _ = listener.accept()
            listener.close()
            self.sockets.append(data)
            self.send_file(control, data, (self.files / argument).read_bytes())
        else:
            self.say(control, REPLIES[verb])

    def send_file(self, control: socket.socket, data: socket.socket, content: bytes) -> None:
        self.say(control, "150 now")
        if self.fault == "wrong byte":
            content = content[:-1] + bytes([content[-1] ^ 1])
        elif self.fault == "short":
            content = content[:-1]
        elif self.fault == "long":
            content += b"!"
        elif self.fault == "stalls":
            data.sendall(content[: len(content) // 2])
            self.stopping.wait()
            return
        data.sendall(content)
        data.close()
        self.say(control, "426 broken" if self.fault == "says it broke" else "226 all of it")

    def stop(self) -> None:
        self.stopping.set()
        for each in self.sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self.threads:
            thread.join(10)
        for each in self.sockets:
            each.close()


@contextlib.contextmanager
def scripted(files: Path, fault: str = "") -> Iterator[ScriptedServer]:
    server = ScriptedServer(files, fault)
    try:
        yield server
    finally:
        server.stop()
