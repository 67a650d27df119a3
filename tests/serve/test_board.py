"""What workers say of themselves, in memory that they share."""

import os

from headrace.serve.board import BOARD_HEAD_BYTES, HEAD, SLOT_BYTES, Board


def test_a_board_answers_what_was_written_last() -> None:
    board = Board(2)
    assert board.read(0) == {}
    assert board.write(0, {"model": "epoll"})
    assert board.write(1, {"model": "poll", "transfers": [["FTP", 1.5]]})
    assert board.write(0, {"model": "uring"})
    assert board.read(0) == {"model": "uring"}
    assert board.read(1) == {"model": "poll", "transfers": [["FTP", 1.5]]}


def test_a_board_keeps_what_was_said_before_something_too_long() -> None:
    board = Board()
    assert board.write(0, {"model": "epoll"})
    assert not board.write(0, {"model": "x" * SLOT_BYTES})
    assert board.read(0) == {"model": "epoll"}


def test_a_board_is_shared_with_children() -> None:
    board = Board(2)
    pid = os.fork()
    if not pid:
        board.write(1, {"pid": os.getpid()})
        os._exit(0)
    os.waitpid(pid, 0)  # and no child that another test has left
    assert board.read(1) == {"pid": pid}


def test_beats_are_shared_and_nothing_that_is_said() -> None:
    board = Board(256)
    pid = os.fork()
    if not pid:
        board.beat(255)
        board.beat(255)
        os._exit(0)
    os.waitpid(pid, 0)
    assert [board.beats(number) for number in (0, 254, 255)] == [0, 0, 2]
    assert board.restarts == 0
    assert board.read(0) == board.read(255) == {}


def test_a_slot_that_is_being_written_is_not_read() -> None:
    board = Board()
    board.write(0, {"model": "epoll"})
    number, length = HEAD.unpack_from(board._memory, BOARD_HEAD_BYTES)
    HEAD.pack_into(board._memory, BOARD_HEAD_BYTES, number + 1, length)  # and then it died
    assert board.read(0) == {}
    assert board.write(0, {"model": "poll"})
    assert board.read(0) == {"model": "poll"}


def test_a_slot_is_empty_once_its_worker_has_gone() -> None:
    board = Board()
    board.write(0, {"model": "epoll"})
    board.clear(0)
    assert board.read(0) == {}
    board.count_restart()
    assert board.restarts == 1
