"""All workers' figures, for the page and for Prometheus."""

import asyncio
from pathlib import Path

from headrace.serve.board import Board
from headrace.serve.http.figures import TransferStatus
from headrace.serve.meters import Meter, Meters
from headrace.serve.settings import Settings
from headrace.serve.site import Site
from headrace.serve.status import HELP, Gatherer, Reporter


def test_a_gatherer_has_all_workers_figures(tmp_path: Path) -> None:
    meters, board = Meters(2), Board(2)
    site = Site(Settings(str(tmp_path)), meters)
    for worker, sessions in enumerate((3, 4)):
        meters.begin(worker, 1000.0)
        meters.add(Meter.FTP_SESSIONS, sessions)
        meters.add(Meter.BYTES_SENT, 100)
        transfers = [["FTP", "down", "me", "::1", f"/{worker}", 1, 2, 3.0, float(worker)]]
        board.write(worker, {"model": "epoll", "cpu_share": 0.5, "transfers": transfers})
    board.count_restart()
    gatherer = Gatherer(site, board, ("ftp://127.0.0.1:2121",))
    status = gatherer.status()
    assert [worker.ftp_clients for worker in status.workers] == [3, 4]
    assert [worker.model for worker in status.workers] == ["epoll", "epoll"]
    assert [transfer.path for transfer in status.transfers] == ["/1", "/0"]  # the oldest first
    assert status.restarts == 1
    assert status.addresses == ("ftp://127.0.0.1:2121",)
    text = gatherer.metrics()
    assert 'headrace_ftp_sessions{worker="1"} 4\n' in text
    assert 'headrace_bytes_sent_total{worker="0"} 100\n' in text
    assert "# TYPE headrace_bytes_sent_total counter\n" in text
    assert 'headrace_cpu_share{worker="0"} 0.5\n' in text
    assert 'headrace_start_time_seconds{worker="0"} 1000\n' in text
    assert "headrace_worker_restarts_total 1\n" in text
    site.close()


def test_every_meter_is_explained() -> None:
    assert set(HELP) == set(Meter)


def test_a_reporter_tells_of_transfers_over_http(tmp_path: Path) -> None:
    class Session:
        def __init__(self, told: TransferStatus | None) -> None:
            self.told = told

        def transfer_status(self, now: float) -> TransferStatus | None:
            return self.told

    class Worker:
        def __init__(self) -> None:
            self.site = Site(Settings(str(tmp_path)))
            self.loop = asyncio.new_event_loop()
            self.transfers: dict[object, None] = {}
            told = TransferStatus("HTTP", "down", "me", "::1", "/" + "a" * 200, 1, 2, 3.0, 4.0)
            self.http_sessions = {Session(None), Session(told)}

    worker, board = Worker(), Board(1)
    Reporter(worker, board, 0).report()  # type: ignore[arg-type]
    (told,) = board.read(0)["transfers"]
    assert told == ["HTTP", "down", "me", "::1", "/" + "a" * 79, 1, 2, 3.0, 4.0]
    worker.loop.close()
    worker.site.close()
