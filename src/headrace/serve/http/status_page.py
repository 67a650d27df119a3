"""The server's figures as a page, or as JSON (`Accept: application/json`).

The page asks for itself again every few seconds, without a script.
"""

from __future__ import annotations

import dataclasses
import json

from headrace.serve.http.answers import NOSNIFF, Answer
from headrace.serve.http.core import Request
from headrace.serve.http.figures import Status, TransferStatus, WorkerStatus
from headrace.serve.http.html_text import duration_text, plain, shown, size_text, time_text
from headrace.serve.http.listing import wants_json
from headrace.serve.http.refusals import page_fields
from headrace.serve.http.style import STATUS

REFRESH_S = 2
TRANSFERS_MAX = 100
JSON_FIELDS = b"Content-Type: application/json\r\nCache-Control: no-store\r\n" + NOSNIFF

WORKER_HEADINGS = (
    "Worker", "PID", "Model", "FTP", "HTTP", "Transfers", "Down", "Up", "Sent", "CPU", "Memory",
    "Descriptors", "Up for",
)  # fmt: skip
TRANSFER_HEADINGS = ("", "File", "Client", "User", "Done", "Rate", "For")


def answer(status: Status, request: Request) -> Answer:
    if wants_json(request):
        figures = json.dumps(dataclasses.asdict(status))
        return Answer(200, JSON_FIELDS + b"Vary: Accept\r\n", figures.encode("ascii") + b"\n")
    return Answer(
        200, page_fields(STATUS) + b"Vary: Accept\r\n", page(status).encode("utf-8", "replace")
    )


def page(status: Status) -> str:
    moment = time_text(status.now_s)
    served = " · ".join(map(plain, status.addresses))
    workers = "worker" if status.restarts == 1 else "workers"
    restarts = f" · {status.restarts:,} {workers} replaced" if status.restarts else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="refresh" content="{REFRESH_S}">'
        f"<title>Status</title><style>{STATUS}</style></head><body><main><h1>Status</h1>"
        f'<p class="s"><time datetime="{moment[0]}">{moment[1]} UTC</time>'
        f" · up for {duration_text(status.age_s)}{restarts}</p>"
        f'<p class="s">{served}</p>{_tiles(status)}'
        f"<h2>Workers</h2>{_workers(status.workers)}"
        f"<h2>Transfers</h2>{_transfers(status.transfers)}</main></body></html>\n"
    )


def _tiles(status: Status) -> str:
    workers = status.workers
    clients = sum(worker.ftp_clients + worker.http_clients for worker in workers)
    down = sum(worker.sent_bytes_per_s for worker in workers)
    up = sum(worker.received_bytes_per_s for worker in workers)
    tiles = (
        ("Clients", f"{clients:,} <small>of {status.clients_max:,}</small>"),
        ("Transfers", f"{sum(worker.transfers for worker in workers):,}"),
        ("Down", f"{_rate(down)}"),
        ("Up", f"{_rate(up)}"),
        ("Sent", size_text(sum(worker.sent_bytes for worker in workers))),
        ("Received", size_text(sum(worker.received_bytes for worker in workers))),
        ("Memory", size_text(sum(worker.memory_bytes for worker in workers))),
        ("CPU", f"{sum(worker.cpu_share for worker in workers) * 100:.0f} %"),
        ("Requests", f"{sum(worker.requests + worker.commands for worker in workers):,}"),
        ("Refused", f"{sum(worker.refused for worker in workers):,}"),
        ("Failed logins", f"{sum(worker.failed_logins for worker in workers):,}"),
    )
    items = (f"<div><dt>{title}</dt><dd>{value}</dd></div>" for title, value in tiles)
    return f"<dl>{''.join(items)}</dl>"


def _rate(bytes_per_s: float) -> str:
    return f"{size_text(bytes_per_s)}/s"


def _table(headings: tuple[str, ...], rows: list[str], texts: int) -> str:
    """The first *texts* columns are words, the others numbers."""
    first = "".join(
        f'<th scope="col"{"" if place < texts else " class=n"}>{heading}</th>'
        for place, heading in enumerate(headings)
    )
    return (
        f'<div class="w" tabindex="0"><table><thead><tr>{first}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _workers(workers: tuple[WorkerStatus, ...]) -> str:
    rows = []
    for worker in workers:
        numbers = (
            f"{worker.ftp_clients:,}", f"{worker.http_clients:,}", f"{worker.transfers:,}",
            _rate(worker.sent_bytes_per_s), _rate(worker.received_bytes_per_s),
            size_text(worker.sent_bytes), f"{worker.cpu_share * 100:.0f} %",
            size_text(worker.memory_bytes), f"{worker.descriptors:,}", duration_text(worker.age_s),
        )  # fmt: skip
        cells = "".join(f'<td class="n">{number}</td>' for number in numbers)
        rows.append(
            f"<tr><td>{worker.number}</td><td>{worker.pid}</td><td>{plain(worker.model)}</td>"
            f"{cells}</tr>"
        )
    return _table(WORKER_HEADINGS, rows, 3)


def _transfers(transfers: tuple[TransferStatus, ...]) -> str:
    if not transfers:
        return '<p class="s">None at the moment.</p>'
    rows = [_transfer(transfer) for transfer in transfers[:TRANSFERS_MAX]]
    more = len(transfers) - len(rows)
    rest = f'<p class="s">And {more:,} more.</p>' if more > 0 else ""
    return _table(TRANSFER_HEADINGS, rows, 4) + rest


def _transfer(transfer: TransferStatus) -> str:
    arrow, spoken = ("↓", "download") if transfer.direction == "down" else ("↑", "upload")
    done = size_text(transfer.done_bytes)
    if transfer.size_bytes:
        done = (
            f'<progress max="{transfer.size_bytes}" value="{transfer.done_bytes}"></progress> '
            f"{100 * transfer.done_bytes // transfer.size_bytes} %"
        )
    return (
        f'<tr><td title="{spoken}">{arrow}&nbsp;{plain(transfer.protocol)}</td>'
        f'<td class="f"><bdi>{shown(transfer.path)}</bdi></td><td>{plain(transfer.address)}</td>'
        f'<td>{plain(transfer.user)}</td><td class="n">{done}</td>'
        f'<td class="n">{_rate(transfer.rate_bytes_per_s)}</td>'
        f'<td class="n">{duration_text(transfer.age_s)}</td></tr>'
    )
