"""``headrace compare --raw``: the raw programs stand beside the models, or say why they cannot."""

import subprocess
import sys

import pytest
from comparing import SHORT, answered, run_json

from headrace.lab import raw_programs
from headrace.lab.load import Load

LISTENING = b"listening on 127.0.0.1:"
LIMITED = [name for name, limit in raw_programs.LIMITS.items() if limit != raw_programs.NO_LIMIT]


def test_compare_measures_every_raw_server_beside_a_model(tmp_path):
    report = run_json(tmp_path, *SHORT, "--raw", "--models", "epoll")
    assert [row["model"] for row in report["rows"]] == ["epoll", *raw_programs.NAMES]
    assert report["flags"]["raw"] is True
    epoll, blocking, *others = report["rows"]
    assert (epoll["kind"], blocking["kind"]) == ("headrace", "raw")
    assert blocking["requests_per_s"] is None
    assert blocking["notes"] == [
        "serves one connection at a time, not 10: its only thread waits for one client until that"
        " leaves; try --busy 1 --idle 0"
    ]
    for row in others:
        assert row["kind"] == "raw"
        assert answered(row) > 0, row["notes"]
        assert row["errors"] == 0


def test_compare_measures_a_raw_server_that_is_named(tmp_path):
    load = ("--busy", "1", "--idle", "0", "--seconds", "0.1", "--repeat", "1")
    report = run_json(tmp_path, *load, "--models", "raw:blocking")
    (row,) = report["rows"]
    assert (row["model"], row["kind"], row["errors"]) == ("raw:blocking", "raw", 0)
    assert answered(row) > 0
    assert report["flags"]["raw"] is False


def test_raw_rows_are_all_the_programs_that_serve():
    serving = {
        path.stem for path in raw_programs.FOLDER.glob("*.py") if "listening on" in path.read_text()
    }
    assert serving == set(raw_programs.LIMITS)


@pytest.mark.parametrize("file", LIMITED)
def test_raw_program_serves_as_many_as_its_limit_says(file):
    most = raw_programs.LIMITS[file].connections
    command = [sys.executable, str(raw_programs.FOLDER / f"{file}.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            line = process.stdout.readline()
            address = "127.0.0.1", int(line.removeprefix(LISTENING))
            load = Load(address, busy=1, idle=most - 1)
            load.connect()
            window = load.run(0.05)
            load.close()
        finally:
            process.kill()
    assert window.errors == {}
    assert window.requests > 0


@pytest.mark.parametrize("file", LIMITED)
def test_raw_program_refuses_one_connection_more_than_its_limit(file):
    most = raw_programs.LIMITS[file].connections
    name = raw_programs.PREFIX + file
    fitting = {program.name: program.reason for program in raw_programs.programs(most)}
    beyond = {program.name: program.reason for program in raw_programs.programs(most + 1)}
    assert fitting[name] is None
    assert f"at a time, not {most + 1:,}" in beyond[name]


def test_raw_programs_that_are_missing_are_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(raw_programs, "FOLDER", tmp_path)
    assert {program.reason for program in raw_programs.programs(1)} == {raw_programs.MISSING}
