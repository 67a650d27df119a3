"""The timeline as text keeps within the terminal, and says the same as the drawing."""

import pytest
from recordings import of_epoll, of_polling, of_threads, recording
from test_drawing import result_of

from headrace.trace.terminal import lines


def shown(made, columns=None):
    return [line.plain for line in lines(result_of(made), "6.1", columns)]


@pytest.mark.parametrize("columns", [60, 80, 140])
@pytest.mark.parametrize("made", [of_epoll(), of_threads(), of_polling(), recording()])
def test_picture_fits_the_terminal(made, columns):
    found = shown(made, columns)
    picture = found[: next(at for at, line in enumerate(found) if line.startswith("░░"))]
    assert max(map(len, picture)) <= columns


def test_picture_has_phase_1_before_phase_2_and_what_each_lane_does_there():
    found = shown(of_epoll())
    phases = next(line for line in found if "├" in line)
    assert phases.index("phase 1") < phases.index("phase 2") < phases.index("answer")
    border = phases.index("┤")
    loop = next(line for line in found if line.startswith("the loop's thread  "))
    assert loop.index("epoll_wait") < border < loop.index("█")


def test_steps_are_in_order_and_without_those_in_vain():
    found = shown(of_polling())
    steps = [line for line in found if " the loop's thread  " in line]
    assert [line.split("thread")[1].split()[0] for line in steps] == ["copies", "runs"]
    assert "recvfrom = 32,768" in steps[0]


def test_text_names_who_waits_and_who_copies():
    found = "\n".join(shown(of_threads()))
    assert "thread 2, in recvfrom(); meanwhile the loop's thread, in futex()" in found
    assert "the middle one of 5 requests" in found
