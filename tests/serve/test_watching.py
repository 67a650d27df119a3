"""Which workers have hung, on a clock of the test's own."""

from headrace.serve.board import Board
from headrace.serve.watching import LATE_S, Watch


def test_who_beats_is_not_silent_and_who_does_not_is() -> None:
    board = Board(2)
    watch = Watch(board)
    for number in (0, 1):
        watch.begin(number, 100.0)
    for second in range(100, 161):
        board.beat(1)
        watch.listen(second)
    assert watch.silence_s(0) == 60
    assert watch.silence_s(1) == 0


def test_a_new_worker_begins_anew() -> None:
    watch = Watch(Board())
    watch.begin(0, 100.0)
    for second in range(100, 161):
        watch.listen(second)
    watch.begin(0, 160.0)
    assert watch.silence_s(0) == 0
    watch.listen(161.0)
    assert watch.silence_s(0) == 1


def test_nobody_is_silent_where_the_machine_stood_still() -> None:
    watch = Watch(Board())
    watch.begin(0, 100.0)
    watch.listen(100.0)
    watch.listen(101.0)
    watch.listen(101.0 + LATE_S + 1000)
    assert watch.silence_s(0) == 0
