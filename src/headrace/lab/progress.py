"""The progress line: drawn only between stretches of load, never by a thread of its own."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class ProgressLine:
    """One line on a terminal that says who is measured; silent when piped."""

    def __init__(self, console: Console, steps: int) -> None:
        self.progress = Progress(
            TextColumn("[bold]{task.fields[who]:<12}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            auto_refresh=False,  # a thread that draws would take its time from the load
            disable=not console.is_terminal,
        )
        self.task: TaskID = self.progress.add_task("starting", total=steps, who="")

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def show(self, who: str, round_number: int, what: str) -> None:
        """Draws the line: who, which round, which phase."""
        self.say(who, f"round {round_number}: {what}")

    def say(self, who: str, what: str) -> None:
        """Draws the line with these words."""
        self.progress.update(self.task, who=who, description=what, refresh=True)

    def advance(self) -> None:
        """One step is done: one round of one row."""
        self.progress.update(self.task, advance=1, refresh=True)
