"""The scenarios fit together: with each other, with the bars, and with the command line."""

import pytest

from suite import command
from suite.cell import Plan
from suite.columns import COLUMNS
from suite.goals import goals

NAMES = command.scenario_names()


@pytest.fixture(scope="module", params=NAMES)
def scenario(request):
    return command.load_scenario(request.param)


def test_there_are_scenarios():
    assert {"tcp_echo", "unix_echo", "tls_echo", "udp_echo", "scheduling", "http"} <= set(NAMES)


def test_scenario_has_the_name_of_its_file(scenario):
    assert scenario.name in NAMES


def test_cells_have_names_of_their_own(scenario):
    names = [cell.name for cell in scenario.cells()]
    assert len(names) == len(set(names)) > 0


def test_cells_have_columns_that_exist_and_the_primary_among_them(scenario):
    for cell in scenario.cells():
        assert cell.primary in cell.columns
        assert set(cell.columns) <= set(COLUMNS)


def test_contenders_have_names_of_their_own(scenario):
    for cell in scenario.cells():
        names = [one.name for one in cell.contenders]
        assert len(names) == len(set(names))
        assert names[0] == "uring"


def test_quick_look_is_part_of_the_usual_run_and_that_of_the_full_one(scenario):
    quick = [cell.name for cell in scenario.chosen(Plan(quick=True))]
    usual = [cell.name for cell in scenario.chosen(Plan())]
    full = [cell.name for cell in scenario.chosen(Plan(full=True))]
    assert quick
    assert set(quick) <= set(usual) <= set(full)


@pytest.mark.parametrize("bar", goals(), ids=lambda bar: f"{bar.what}: {bar.words}")
def test_bar_is_of_cells_that_the_usual_run_measures(bar):
    cells = {cell.name: cell for cell in command.load_scenario(bar.scenario).chosen(Plan())}
    assert set(bar.cells) <= set(cells)
    for name in bar.cells:
        contenders = {one.name for one in cells[name].contenders}
        assert bar.column in cells[name].columns
        assert bar.below is None or bar.below in contenders
        assert contenders & set(bar.above)


def test_command_refuses_a_scenario_that_is_not_there(capsys):
    with pytest.raises(SystemExit):
        command.parse_arguments(["tcp_ehco"])
    assert "unknown scenario tcp_ehco; known: " in capsys.readouterr().err


def test_command_wants_to_know_what_to_do(capsys):
    with pytest.raises(SystemExit):
        command.parse_arguments([])
    assert "name a scenario, or --all, or --list" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--quick"], ["--filter", "read"], ["--loops", "uring"], ["--only-cell", "x"]]
)
def test_command_keeps_no_part_of_a_scenario(words, capsys):
    with pytest.raises(SystemExit):
        command.parse_arguments(["tcp_echo", "--write", *words])
    assert "--write keeps whole scenarios" in capsys.readouterr().err
    assert command.is_partial(command.parse_arguments(["--all", *words]))


def test_command_lists_scenarios_and_cells(capsys):
    assert command.run(["tcp_echo", "--list"]) == 0
    output = capsys.readouterr().out
    assert "tcp_echo: TCP echo" in output
    assert "    protocol, 1 KiB, 100\n" in output
    assert "    sockets, 64 B, 1   (--full)\n" in output


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--filter", "read,", "--filter", "1 KiB"], ["read, 1 KiB, 100"]),
        (["--only-cell", "sockets, 64 B, 1"], ["sockets, 64 B, 1"]),
        (["--filter", "nothing has this"], []),
    ],
)
def test_command_chooses_cells(words, names):
    options = command.parse_arguments(["tcp_echo", *words])
    scenario = command.load_scenario("tcp_echo")
    chosen = command.chosen_cells(scenario, command.plan_of(options), options)
    assert [cell.name for cell in chosen] == names


@pytest.mark.parametrize(
    ("words", "rounds", "seconds"),
    [([], 7, 0.3), (["--quick"], 3, 0.2), (["--quick", "--rounds", "5", "--seconds", "1"], 5, 1.0)],
)
def test_command_plans_the_rounds(words, rounds, seconds):
    plan = command.plan_of(command.parse_arguments(["tcp_echo", *words]))
    assert (plan.rounds, plan.seconds) == (rounds, seconds)


@pytest.mark.parametrize(
    "words",
    [["--all", "tcp_echo"], ["tcp_echo", "--rounds", "0"], ["tcp_echo", "--json", "/none/x.json"]],
)
def test_command_says_at_once_what_makes_no_sense(capsys, words):
    with pytest.raises(SystemExit):
        command.parse_arguments(words)
    assert len(capsys.readouterr().err.splitlines()[-1]) > 20


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scheduling", "--loops", "uvlop"], "unknown contender uvlop; known: "),
        (["scheduling", "--filter", "no such cell"], "no cell is called so"),
        (["scheduling", "--only-cell", "no such cell"], "no cell is called so"),
    ],
)
def test_command_measures_nothing_where_nothing_is_called_so(words, said):
    with pytest.raises(SystemExit, match=said):
        command.run(words)
