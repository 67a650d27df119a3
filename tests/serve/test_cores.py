"""How many workers "auto" is: cores, and what the quota pays for."""

import os
from pathlib import Path

import pytest

from headrace.serve.cores import usable_cores

CORES = len(os.sched_getaffinity(0))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("of_group", "above", "cores"),
    [
        ("max 100000", "max 100000", CORES),
        ("50000 100000", "max 100000", 1),
        ("max 100000", "10000 100000", 1),
        ("150000 100000", "max 100000", min(2, CORES)),
        ("nonsense", "max 100000", CORES),
    ],
)
def test_a_quota_of_version_2_counts(tmp_path: Path, of_group: str, above: str, cores: int) -> None:
    write(tmp_path / "self", "0::/system/server\n")
    write(tmp_path / "groups" / "system" / "cpu.max", above + "\n")
    write(tmp_path / "groups" / "system" / "server" / "cpu.max", of_group + "\n")
    assert usable_cores(tmp_path / "groups", tmp_path / "self") == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", CORES), ("100000", 1), ("38461", 1)])
def test_a_quota_of_version_1_counts(tmp_path: Path, quota: str, cores: int) -> None:
    write(tmp_path / "self", "3:cpu,cpuacct:/box\n2:memory:/box\n")
    write(tmp_path / "groups" / "cpu,cpuacct" / "box" / "cpu.cfs_quota_us", quota + "\n")
    write(tmp_path / "groups" / "cpu,cpuacct" / "box" / "cpu.cfs_period_us", "100000\n")
    assert usable_cores(tmp_path / "groups", tmp_path / "self") == cores


def test_a_group_of_outside_is_looked_for_at_the_top(tmp_path: Path) -> None:
    write(tmp_path / "self", "0::/../../elsewhere\n")
    write(tmp_path / "groups" / "cpu.max", "100000 100000\n")
    assert usable_cores(tmp_path / "groups", tmp_path / "self") == 1


def test_without_control_groups_all_cores_count(tmp_path: Path) -> None:
    assert usable_cores(tmp_path, tmp_path / "nothing") == CORES
