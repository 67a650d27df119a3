"""From raw data to holds, tie, missed, or not measured."""

import documents
import pytest

from suite import bars
from suite.bars import HOLDS, MISSED, NOT_MEASURED, TIE, Bar, judge


def echo(**rows: tuple[float | None, ...]) -> list[dict[str, object]]:
    """A document with one cell, CPU time of each contender and round."""
    made = [
        documents.row_of_values(name.replace("_", "-"), "cpu_us", *values)
        for name, values in rows.items()
    ]
    return [documents.document("tcp_echo", cell=made)]


def bar(*above: str, limit: float = 1.2, **options: object) -> Bar:
    return Bar("what", "tcp_echo", ("cell",), "cpu_us", above, limit, **options)


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.3, HOLDS), (1.2, HOLDS), (1.19, MISSED), (0.5, MISSED)]
)
def test_bar_of_a_peer_over_ours(factor, verdict):
    data = echo(uring=(1.0, 2.0, 4.0), uvloop=(factor, factor * 2, factor * 4))
    finding = judge(bar("uvloop"), data)
    assert finding.verdict == verdict
    assert finding.figure.median == pytest.approx(factor)
    assert finding.decided_by == "uvloop at cell"


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, HOLDS), (1.2, HOLDS), (1.3, MISSED)])
def test_bar_of_ours_over_the_floor(factor, verdict):
    data = echo(uring=(factor,), c_epoll=(1.0,))
    finding = judge(bar("uring", below="c-epoll", at_least=False), data)
    assert finding.verdict == verdict


@pytest.mark.parametrize(("figure", "verdict"), [(0.1, HOLDS), (1.2, HOLDS), (1.21, MISSED)])
def test_bar_of_a_figure_by_itself(figure, verdict):
    finding = judge(bar("uring", below=None, at_least=False), echo(uring=(figure,)))
    assert finding.verdict == verdict
    assert finding.figure.median == figure


def test_bar_is_decided_by_the_worst_peer():
    data = echo(uring=(1.0,), uvloop=(1.5,), rloop=(1.1,), asyncio=(4.0,))
    finding = judge(bar("asyncio", "uvloop", "rloop"), data)
    assert (finding.verdict, finding.decided_by) == (MISSED, "rloop at cell")


def test_bar_is_decided_by_the_worst_cell():
    data = [
        documents.document(
            "tcp_echo",
            small=[
                documents.row_of_values("uring", "cpu_us", 1.0),
                documents.row_of_values("uvloop", "cpu_us", 2.0),
            ],
            large=[
                documents.row_of_values("uring", "cpu_us", 1.0),
                documents.row_of_values("uvloop", "cpu_us", 1.1),
            ],
        )
    ]
    both = Bar("what", "tcp_echo", ("small", "large"), "cpu_us", ("uvloop",), 1.2)
    assert judge(both, data).decided_by == "uvloop at large"


def test_bar_of_a_limit_from_above_is_decided_by_the_highest():
    data = echo(uring=(1.0,), epoll=(5.0,))
    finding = judge(bar("uring", "epoll", below=None, at_least=False), data)
    assert (finding.verdict, finding.decided_by) == (MISSED, "epoll at cell")


def test_bar_ignores_a_peer_that_failed():
    data = echo(uring=(1.0,), uvloop=(2.0,))
    data[0]["cells"][0]["rows"].append(documents.row("rloop", reason="it has no TLS"))
    assert judge(bar("uvloop", "rloop"), data).verdict == HOLDS


def test_bar_is_not_measured_when_ours_failed():
    data = echo(uvloop=(2.0,))
    data[0]["cells"][0]["rows"].append(documents.row("uring", reason="no ring here"))
    assert judge(bar("uvloop"), data).verdict == NOT_MEASURED


@pytest.mark.parametrize("data", [[], [documents.document("scheduling")], echo()])
def test_bar_is_not_measured_without_data(data):
    finding = judge(bar("uvloop"), data)
    assert (finding.verdict, finding.figure) == (NOT_MEASURED, None)


def test_peer_is_not_ahead_when_it_is_equal():
    assert judge(bar("uvloop", limit=1.0), echo(uring=(1.0,), uvloop=(1.0,))).verdict == HOLDS


def test_peer_that_is_ahead_in_each_round_is_ahead():
    data = echo(uring=(1.0,) * 7, uvloop=(0.99,) * 7)
    assert judge(bar("uvloop", limit=1.0), data).verdict == MISSED


def test_peer_that_is_ahead_in_some_rounds_and_behind_in_others_is_a_tie():
    data = echo(uring=(1.0,) * 7, uvloop=(0.9, 0.9, 0.95, 0.99, 1.1, 1.1, 1.2))
    assert judge(bar("uvloop", limit=1.0), data).verdict == TIE


def test_no_other_limit_knows_a_tie():
    data = echo(uring=(1.0,) * 7, uvloop=(1.0, 1.0, 1.1, 1.19, 1.3, 1.3, 1.4))
    assert judge(bar("uvloop", limit=1.2), data).verdict == MISSED


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (bar("uvloop"), "uvloop at least 1.20 x uring"),
        (bar(*bars.PEERS, limit=1.05), "every peer at least 1.05 x uring"),
        (bar(*bars.OTHER_PEERS, limit=1.0), "every other peer not ahead of uring"),
        (bar("uring", below="c-epoll", at_least=False), "uring at most 1.20 x c-epoll"),
        (bar("uring", below=None, at_least=False), "uring at most 1.2, CPU µs"),
    ],
)
def test_bar_says_what_it_is(one, words):
    assert one.words == words
