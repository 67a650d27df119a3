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


FLAWED = [
    ({"errors": {"wrong_bytes": 3}}, "errors", "had errors: 3 wrong bytes"),
    ({"errors": {"http_status": 9}, "bad_status": 404}, "errors", "(first: 404)"),
    (
        {"exceptions": 2, "first_exception": "boom"},
        "exceptions",
        "had 2 exceptions in the server's loop, the first: boom",
    ),
    ({"requests": 150}, "too short", "were too short: 150 requests"),
    (
        {"busy_share": 0.99, "server_busy_share": 0.6},
        "generator overloaded",
        "had an overloaded load generator: the server was only 60% busy",
    ),
    ({"failed": "died of SIGSEGV: no message"}, "failed", "failed: died of SIGSEGV"),
    ({"requests": 0}, "no replies", "not a single request was answered"),
]
FIGURES = [
    "requests_per_s",
    "cpu_us_per_request",
    "syscalls_per_request",
    "rss_bytes",
    "rss_bytes_per_connection",
]


@pytest.mark.parametrize(("figures", "flaw", "words"), FLAWED)
def test_summary_has_no_figures_where_all_rounds_have_a_flaw(figures, flaw, words):
    row = summarise(ASYNCIO, [a_round(rss_bytes=9, **figures)])
    assert not row.trusted
    assert not row.measured
    assert [row.figures[name] for name in FIGURES] == [None] * len(FIGURES)
    assert set(row.figures["latency_us"].values()) == {None}
    assert row.figures["spread"] == {}
    (note,) = row.figures["notes"]
    assert words.partition(": ")[2] in note
    assert "rounds" not in note.partition(":")[0]
    assert [one["flaw"] for one in row.figures["rounds"]] == [flaw]
    assert row.figures["rounds"][0]["requests"] == figures.get("requests", 20_000)


@pytest.mark.parametrize(("figures", "flaw", "words"), FLAWED)
def test_summary_is_made_of_the_good_rounds_and_counts_the_others(figures, flaw, words):
    good = [a_round(requests=n) for n in (19_000, 21_000)]
    row = summarise(ASYNCIO, [good[0], a_round(**figures), good[1]])
    assert row.measured
    assert not row.trusted
    assert row.figures["requests_per_s"] == 20_000
    assert row.figures["spread"]["requests_per_s"] == [19_000, 21_000]
    assert row.figures["good_rounds"] == 2
    assert [one["flaw"] for one in row.figures["rounds"]] == [None, flaw, None]
    (note,) = row.figures["notes"]
    assert note.startswith("1 of 3 rounds ")
    assert words in note


def test_summary_without_a_good_round_has_no_figures_but_counts_all_errors():
    row = summarise(ASYNCIO, [a_round(errors={"reset": 2}) for _ in range(3)])
    assert not row.measured
    assert row.figures["notes"] == ["errors: 6 reset by the server"]
    assert (row.figures["errors"], row.figures["requests"]) == (6, 60_000)


def test_summary_counts_each_flaw_by_its_rounds():
    rounds = [a_round(errors={"reset": 1}), a_round(requests=5), a_round(errors={"reset": 2})]
    assert summarise(ASYNCIO, rounds).figures["notes"] == [
        "2 of 3 rounds had errors: 3 reset by the server",
        "1 of 3 rounds were too short: 5 requests in a round; measure longer (--seconds)",
    ]


def test_summary_doubts_the_figures_of_an_only_core():
    row = summarise(ASYNCIO, [a_round(shared_core=True, busy_share=0.99, server_busy_share=0.5)])
    assert row.trusted
    assert "share the only core" in row.figures["notes"][0]


@pytest.mark.parametrize(
    ("rounds", "words"),
    [
        ([a_round(cpu_share=0.7)], "other programs took up to 30%"),
        ([a_round(server_lost_share=0.4)], "took up to 40% of the server's core"),
        ([a_round(self_latency_share=0.3)], "up to 30% of the latency was spent in the load"),
        (
            [a_round(statistics={"thread_rotations": 3}), a_round(statistics={})],
            "too few threads: they went round 3 times; raise $HEADRACE_THREADS",
        ),
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


def test_summary_of_rounds_too_short_for_want_of_threads_says_so():
    row = summarise(ASYNCIO, [a_round(requests=177, statistics={"thread_rotations": 90})])
    assert not row.measured
    assert row.figures["notes"] == [
        "too short: 177 requests in a round; measure longer (--seconds)",
        "too few threads: they went round 90 times; raise $HEADRACE_THREADS",
    ]


def test_summary_trusts_the_latency_of_a_generator_that_was_quick():
    assert summarise(ASYNCIO, [a_round(self_latency_share=0.2)]).figures["notes"] == []


def test_summary_says_why_it_has_no_cpu_time():
    row = summarise(ASYNCIO, [a_round(cpu_known=False, cpu_us_per_request=None)])
    assert row.trusted
    assert row.figures["cpu_us_per_request"] is None
    assert "CPU time unknown" in row.figures["notes"][0]


def test_summary_of_the_command_as_it_is_doubts_a_loop_that_is_not_asyncio_s():
    plain = Contender("asyncio", "plain", "3.11.2")
    row = summarise(plain, [a_round(other_loops=["uvloop 0.22.1"])])
    assert row.trusted
    assert (row.figures["model"], row.figures["version"]) == ("asyncio", "uvloop 0.22.1, 3.11.2")
    assert row.figures["notes"][0].startswith("COMMAND has loaded uvloop 0.22.1: the figures")
    assert summarise(plain, [a_round()]).figures["notes"] == []


def test_summary_trusts_a_generator_that_is_busy_beside_a_busy_server():
    assert summarise(ASYNCIO, [a_round(busy_share=0.99, server_busy_share=0.98)]).trusted


def test_summary_of_a_contender_that_cannot_run_is_its_reason():
    row = summarise(Contender("uring", "headrace", reason="io_uring is blocked"), [])
    assert row.figures["notes"] == ["io_uring is blocked"]
    assert row.figures["requests_per_s"] is None
    assert row.figures["errors"] is None
    assert not row.measured


def test_window_takes_the_errors_of_others_and_keeps_its_figures():
    window = Window(1.0, 10, {"reset": 1}, ((5, 10),), bad_status=404)
    warm = Window(0.2, 5, {"reset": 2, "idle_closed": 3}, ((7, 5),), bad_status=503)
    found = window.with_errors_of([warm, Window(0.0, 0)])
    assert found.errors == {"reset": 3, "idle_closed": 3}
    assert found.bad_status == 503
    assert (found.seconds, found.requests, found.latency_ns) == (1.0, 10, ((5, 10),))


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
