"""The box is there, is what it says, and is gone afterwards, however it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from c10k import box as boxes
from c10k import cgroups, install, peers
from c10k.box import make_box
from c10k.cgroups import Bounds
from c10k.command import parser, run
from c10k.peers import Wanted
from c10k.tools import NoBoxError

BENCH = Path(install.HERE).parent
BOUNDS = Bounds(core=max(os.sched_getaffinity(0)), cpu_share=0.25, memory_bytes=2**30)


def traces(pid: int) -> list[str]:
    """What is left of the box of a process."""
    found = [str(place) for place in Path("/run/netns").glob(f"c10k-{pid}")]
    found += [str(place) for place in Path("/sys/fs/cgroup").glob(f"*/c10k-{pid}")]
    found += [str(place) for place in Path("/sys/fs/cgroup").glob(f"c10k-{pid}")]
    found += [str(place) for place in Path("/sys/class/net").glob(f"c10k{pid}[ab]")]
    return found


@pytest.fixture(scope="module")
def possible():
    """Skips where no box can be made."""
    try:
        with make_box(BOUNDS):
            pass
    except (NoBoxError, cgroups.NoCgroupError) as error:
        pytest.skip(f"no box here: {error}")


def test_box_has_wire_quota_and_memory(possible):
    with make_box(BOUNDS) as box:
        assert traces(os.getpid())
        assert "rate 1Gbit" in box.wire_statistics()
        assert box.sysctls["net.core.somaxconn"] == "65535"
        reading = box.group.read()
        assert reading.memory_bytes + reading.socket_bytes < BOUNDS.memory_bytes
        log = box.folder / "log"
        program = "import os, socket; print(socket.if_nameindex(), os.sched_getaffinity(0))"
        assert box.start([sys.executable, "-c", program], os.environ, log).wait() == 0
        assert box.server_device in log.read_text()
        assert str({BOUNDS.core}) in log.read_text()
        assert box.group.read().cpu_ns > 0
    assert traces(os.getpid()) == []


def test_box_and_its_processes_are_gone_after_an_error(possible):
    sleepers = []

    def fail() -> None:
        with make_box(BOUNDS) as box:
            sleepers.append(box.start(["sleep", "1000"], os.environ, box.folder / "log"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert sleepers[0].wait(10) == -signal.SIGKILL
    assert traces(os.getpid()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_box_is_gone_after_a_signal(possible, number):
    program = f"""
import sys, time
sys.path.insert(0, {str(BENCH)!r})
from c10k.box import make_box
from c10k.cgroups import Bounds
with make_box(Bounds({BOUNDS.core}, 0.25, 2**30)) as box:
    box.start(["sleep", "1000"], {{"PATH": "/usr/bin:/bin"}}, box.folder / "log")
    print("stands", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == "stands\n"
        assert traces(runner.pid)
        runner.send_signal(number)
        runner.communicate(timeout=60)
    assert traces(runner.pid) == []


def test_box_wants_root(monkeypatch, capsys):
    monkeypatch.setattr(boxes.os, "geteuid", lambda: 1000)
    with pytest.raises(NoBoxError, match="needs root"), make_box(BOUNDS):
        pass


def test_quota_is_a_part_of_each_period():
    assert Bounds(1, 0.385, 0).quota_us == 3850
    assert Bounds(1, None, 0).quota_us == -1


def test_network_is_one_that_no_device_has(monkeypatch):
    taken = "2: eth0 inet 198.18.7.9/24 scope global eth0\n3: eth1 inet 198.18.8.1/24\n"
    monkeypatch.setattr(boxes, "said", lambda command: taken)
    assert boxes.free_network(7) == "198.18.9"
    assert boxes.free_network(300) == "198.19.44"


def test_unknown_peer_is_named(capsys):
    assert run(["--peer", "headrace,ftpd"]) == 2
    assert "no peer ftpd" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--users", "0"], ["--users", "many"], ["--workers=-1"]])
def test_wrong_numbers_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(words)


@pytest.mark.parametrize("name", sorted(peers.PEERS))
def test_peer_serves_the_folder_at_the_boxs_address(name, tmp_path, monkeypatch):
    monkeypatch.setattr(install, "debian_program", lambda *names: tmp_path / "usr/sbin/x")
    monkeypatch.setattr(peers.metadata, "version", lambda name: "1.0")

    class FakeBox:
        folder = tmp_path
        address = "198.18.0.1"

    start = peers.PEERS[name](FakeBox(), tmp_path / "files", Wanted(3, None, 1000))
    written = " ".join(start.command)
    written += "".join(place.read_text() for place in tmp_path.glob("*.conf"))
    assert "198.18.0.1" in written
    assert "2121" in written
    assert str(tmp_path / "files") in written
