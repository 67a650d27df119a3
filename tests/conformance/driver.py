"""Bare operations on a model, and a record of what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from headrace.core.datagram_operation import ReceiveDatagramsOperation
from headrace.core.operation import Operation, ReceiveOperation
from headrace.models.contract import CANCEL_CANCELLED, SUBMIT_COMPLETED

# Turns after which what has not happened will not happen; the latest fault is a few turns late.
TURNS_TO_SETTLE = 40


class Record:
    """What became of one operation."""

    def __init__(self, operation: Operation, driver: Driver) -> None:
        self.operation = operation
        self.driver = driver
        self.results: list[int] = []
        self.data = b""
        self.datagrams: list[tuple[bytes, Any]] = []
        self.ended = False
        self.cancelled = False
        # Called with the record at each completion, inside the completion's own callback.
        self.then: Callable[[Record], object] | None = None

    def __call__(self, operation: Operation, result: int, detail: Any) -> None:
        assert operation is self.operation
        assert not self.ended, f"{operation!r} completed after its end"
        assert not self.cancelled, f"{operation!r} completed after CANCELLED"
        self.results.append(result)
        if isinstance(operation, ReceiveOperation):
            self.data += detail
            self.ended = result <= 0
            assert len(detail) == max(result, 0)
        elif isinstance(operation, ReceiveDatagramsOperation):
            self.datagrams += detail
            self.ended = result < 0
            assert len(detail) == max(result, 0)
        else:
            self.ended = not detail
        if self.then is not None:
            self.then(self)
        self.driver.note()

    @property
    def result(self) -> int:
        """The one result of an operation that completes once."""
        assert self.ended, self
        assert len(self.results) == 1, self
        return self.results[0]

    @property
    def is_over(self) -> bool:
        return self.ended or self.cancelled

    def __repr__(self) -> str:
        return f"<Record {self.operation!r} {self.results[-5:]} ended={self.ended}>"


class Driver:
    """Starts operations on a loop's model and runs the loop until something has happened."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.model = loop._model
        self._waiter: asyncio.Future[None] | None = None
        self._condition: Callable[[], bool] = bool

    def start(self, operation: Operation, then: Callable[[Record], object] | None = None) -> Record:
        record = Record(operation, self)
        record.then = then
        operation.on_complete = record
        if self.model.start_operation(operation) == SUBMIT_COMPLETED:
            record.results.append(operation.result)
            record.ended = True
        return record

    def stop(self, record: Record) -> int:
        answer = self.model.stop_operation(record.operation)
        if answer == CANCEL_CANCELLED and not record.ended:
            record.cancelled = True
        return answer

    def stop_and_settle(self, *records: Record) -> None:
        for record in records:
            self.stop(record)
        self.run_until(lambda: all(record.is_over for record in records))

    def run_until(self, condition: Callable[[], bool]) -> None:
        if condition():
            return
        self._condition = condition
        self._waiter = self.loop.create_future()
        try:
            self.loop.run_until_complete(self._waiter)
        finally:
            self._waiter = None

    def note(self) -> None:
        if self._waiter is not None and not self._waiter.done() and self._condition():
            self._waiter.set_result(None)

    def run_until_ended(self, *records: Record) -> None:
        self.run_until(lambda: all(record.ended for record in records))

    def settle(self) -> None:
        """Turns enough for everything that could happen by itself."""
        self.loop.run_until_complete(self._turns(TURNS_TO_SETTLE))

    async def _turns(self, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)
