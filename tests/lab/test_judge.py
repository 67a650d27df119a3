"""A figure that is not good is never shown as if it were."""

import pytest

from headrace.lab.contenders import Contender
from headrace.lab.measure import Round
from headrace.lab.summary import summarise
from headrace.lab.window import Window, merge_windows

ASYNCIO = Contender("asyncio", "peer")


def a_round(requests: int = 20_000, latency_ns: int = 50_000, **more: object) -> Round:
    window = {
        "seconds": 1.0,
        "requests": requests,
        "latency_ns": ((latency_ns, requests),) if requests else (),
        "busy_share": 0.5,
    }
    figures = {"cpu_us_per_request": 5.0, "server_busy_share": 0.99, "connections": 10}
    for name, value in more.items():
        (window if name in Window.__dataclass_fields__ else figures)[name] = value
    return Round("asyncio", window=Window(**window), **figures)


def test_summary_of_good_rounds_has_medians_and_no_notes():
    rounds = [a_round(requests=n) for n in (19_000, 20_000, 21_500)]
    row = summarise(ASYNCIO, rounds)
    assert row.trusted
    assert row.figures["notes"] == []
    assert row.figures["requests_per_s"] == 20_000
    assert row.figures["spread"]["requests_per_s"] == [19_000, 21_500]
    assert row.figures["latency_us"]["p999"] == pytest.approx(50, rel=0.001)


def test_summary_uses_all_rounds_for_a_percentile_that_one_cannot_carry():
    rounds = [a_round(requests=5_000), a_round(requests=5_000)]
    assert summarise(ASYNCIO, rounds).figures["latency_us"]["p999"] is not None
    row = summarise(ASYNCIO, rounds[:1])
    assert row.figures["latency_us"]["p999"] is None
    assert "5,000 requests are too few for p99.9" in row.figures["notes"][0]


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"errors": {"wrong_bytes": 3}}, "errors: 3 wrong bytes"),
        ({"errors": {"http_status": 9}, "bad_status": 404}, "(first: 404)"),
        ({"exceptions": 2, "first_exception": "boom"}, "2 exceptions in the server's loop"),
        ({"requests": 150}, "too short: 150 requests"),
        ({"busy_share": 0.99, "server_busy_share": 0.6}, "load generator overloaded"),
        ({"shared_core": True}, "share the only core"),
        ({"failed": "the server died of SIGSEGV: no message"}, "SIGSEGV"),
        ({"requests": 0}, "not a single request was answered"),
    ],
)
def test_summary_does_not_trust_a_spoiled_round(figures, words):
    row = summarise(ASYNCIO, [a_round(**figures)])
    assert not row.trusted
    assert words in " ".join(row.figures["notes"])


@pytest.mark.parametrize(
    ("rounds", "words"),
    [
        ([a_round(cpu_share=0.7)], "other programs took up to 30%"),
        ([a_round(server_lost_share=0.4)], "took up to 40% of the server's core"),
        (
            [a_round(requests=10_000), a_round(requests=20_000)],
            "unsteady: requests/s spread over 67%",
        ),
    ],
)
def test_summary_doubts_a_disturbed_round(rounds, words):
    row = summarise(ASYNCIO, rounds)
    assert row.trusted
    assert words in " ".join(row.figures["notes"])


def test_summary_trusts_a_generator_that_is_busy_beside_a_busy_server():
    assert summarise(ASYNCIO, [a_round(busy_share=0.99, server_busy_share=0.98)]).trusted


def test_summary_of_a_contender_that_cannot_run_is_its_reason():
    row = summarise(Contender("uring", "headrace", reason="io_uring is blocked"), [])
    assert row.figures["notes"] == ["io_uring is blocked"]
    assert row.figures["requests_per_s"] is None
    assert row.figures["errors"] is None
    assert not row.measured


def test_windows_merge_as_if_they_were_one():
    merged = merge_windows([
        Window(1.0, 10, {"reset": 1}, ((5, 10),), busy_share=0.2, stall_ms_max=3.0),
        Window(3.0, 30, {"reset": 2}, ((5, 10), (9, 20)), busy_share=0.6, stall_ms_max=1.0),
    ])  # fmt: skip
    assert (merged.seconds, merged.requests, merged.errors) == (4.0, 40, {"reset": 3})
    assert merged.latency_ns == ((5, 20), (9, 20))
    assert merged.busy_share == pytest.approx(0.5)
    assert merged.stall_ms_max == 3.0
    assert merge_windows([]).requests == 0
