"""What is said of a service that does not answer as it should."""

import pytest
from comparing import free_port
from servers import http_server, never_answers, resets, serving

from headrace.lab.answer import Trouble, ask
from headrace.lab.target import Target

TIMEOUT_S = 0.2
GOOD = b"HTTP/1.1 204 No Content\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"


def asked(handler) -> Trouble | None:
    with serving(handler) as (host, port):
        return ask(Target("localhost", port, "/", host), TIMEOUT_S)


@pytest.mark.parametrize("reply", [GOOD, ENDLESS])
def test_answer_with_2xx_is_no_trouble(reply):
    assert asked(http_server(reply)) is None


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (never_answers, "gave no whole answer within 0.2 s"),
        (resets, "reset"),
        (http_server(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), "answered 302 Found"),
        (http_server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx"), "gave no whole answer"),
    ],
)
def test_answer_of_a_service_that_is_up_but_wrong_is_a_trouble(handler, words):
    trouble = asked(handler)
    assert words in trouble.words
    assert trouble.is_up


def test_answer_503_is_a_service_that_is_still_starting():
    trouble = asked(http_server(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"))
    assert trouble == Trouble("GET / is answered 503 Busy", is_up=False)


def test_answer_of_nobody_is_waited_for():
    trouble = ask(Target("localhost", port := free_port(), "/", "127.0.0.1"), TIMEOUT_S)
    assert trouble == Trouble(f"nobody listens on 127.0.0.1:{port}", is_up=False)
