import asyncio
from collections.abc import Awaitable
from typing import Any

from headrace.core.file_operation import FileOperation

BUDGET_BYTES: int
CALL_BYTES: int
BUFFERED_BYTES: int

def is_turn_over() -> bool:
    """Count a call that is served from a buffer; True if others are to have their turn first."""

def give_way() -> Awaitable[None]:
    """Until the loop's next turn, in which the budget is full again."""

def refill_budget() -> None:
    """The loop's next turn has begun."""

async def settle(operation: FileOperation) -> int:
    """Have *operation* done, and wait for its end: its result, which may be a negative errno."""

async def settle_by_model(
    loop: asyncio.AbstractEventLoop, model: Any, operation: FileOperation
) -> int: ...
async def settle_by_thread(loop: asyncio.AbstractEventLoop, operation: FileOperation) -> int: ...
async def settle_cancelled(loop: asyncio.AbstractEventLoop, operation: FileOperation) -> None:
    """Wait for the thread that has begun it, if one has."""

async def do(operation: FileOperation, filename: Any = None, other_filename: Any = None) -> int:
    """settle(), with the OSError of the call for its result."""

def error_of(error: int, filename: Any = None, other_filename: Any = None) -> OSError:
    """The OSError of a call, with its filenames."""
