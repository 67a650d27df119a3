"""A claim: a sentence of the notes, the experiment that tests it, and what it can find."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

HOLDS = "holds"
REFUTED = "refuted"
DEPENDS = "depends"
UNDECIDED = "not decidable here"
FAILED = "failed"
VERDICTS = (HOLDS, REFUTED, DEPENDS, UNDECIDED, FAILED)

NOTES = {
    1: "什么是IO多路复用",
    2: "异步IO",
    3: "Python并发编程-网络IO模型",
    4: "深入理解异步I/O+epoll+协程",
    5: "asyncio Desciption",
}
"""The notes by the number under which claims name them, with their titles as they stand."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Scale:
    """How much an experiment may do; a size that a machine cannot have is cut, never guessed."""

    name: str
    rounds: int
    """Interleaved rounds of a measurement in time; odd, so that a median was measured."""
    batch_s: float
    """CPU time of one sample."""
    descriptors: int
    wait_s: float
    """How long something is awaited where the waiting itself is what is looked at."""
    limit_s: float
    """An experiment that takes longer is ended and reported as failed."""


SCALES = {
    scale.name: scale
    for scale in (
        Scale("smallest", 3, 0.0005, 512, 0.03, 20),
        Scale("quick", 9, 0.002, 10_000, 0.1, 30),
        Scale("full", 25, 0.005, 10_000, 0.3, 120),
    )
}


@dataclass(frozen=True)
class Curve:
    """Lines over a logarithmic scale each way, for claims about growth."""

    x: str
    y: str
    lines: Mapping[str, Points]


@dataclass(frozen=True)
class Finding:
    """What an experiment found on this machine."""

    verdict: str
    number: str
    """The measurement, in half a line with its unit."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """The numbers behind it, by name; the unit ends the name."""
    curve: Curve | None = None


Experiment = Callable[[Scale], Finding]


@dataclass(frozen=True)
class Claim:
    """One sentence and its experiment."""

    name: str
    notes: tuple[int, ...]
    sentence: str
    """As it stands in the first of the notes."""
    english: str
    reading: str
    """What the measurement says and what it does not."""
    experiment: Experiment
    group: str = ""

    def described(self) -> dict[str, Any]:
        """What is known of it before any measurement."""
        return {
            "name": self.name,
            "group": self.group,
            "notes": [{"number": number, "title": NOTES[number]} for number in self.notes],
            "sentence": self.sentence,
            "english": self.english,
            "reading": self.reading,
        }


def claim(
    name: str, *notes: int, sentence: str, english: str, reading: str
) -> Callable[[Experiment], Claim]:
    """Makes the function below it the experiment of a claim, which takes the function's place."""

    def make(experiment: Experiment) -> Claim:
        return Claim(name, notes, sentence, english, reading, experiment)

    return make
