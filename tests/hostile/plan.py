"""What one sequence does: made of its seed alone, so that a number repeats it.

A plan says what the two ends of a connection are and which steps they and the proxy between them
take.  Steps that are not settled happen in one turn of the loop together with the next one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

CLIENT, SERVER = 0, 1

# The kernel takes this much at once on every connection here, whoever reads or not ...
SMALL_BYTES_MAX = 16 * 1024
# ... and never this much while the proxy does not read: buffers are set to a fraction of it.
LARGE_BYTES = 1024 * 1024
WRITTEN_BYTES_MAX = 3 * LARGE_BYTES
STEPS_MAX = 14

KINDS = ("protocol", "protocol", "buffered", "streams")
FLOWS = ("straight", "split", "delay", "coalesce", "held")

# How often a step is drawn; what ends something is rare, so that much happens before it.
STEPS = {
    "write": 10,
    "flow": 5,
    "pause": 4,
    "resume": 4,
    "arm": 2,
    "limits": 1,
    "drain": 2,
    "cancel_drain": 2,
    "cancel_read": 2,
    "write_eof": 2,
    "close": 1.5,
    "abort": 1.5,
    "reset": 1.5,
    "half_close": 1,
}
STREAMS_ONLY = {"drain", "cancel_drain", "cancel_read"}
# A StreamReader pauses and resumes by itself.
NOT_STREAMS = {"pause", "resume", "arm"}
# TLS has no half-close; and where sslproto stops reading in the middle is its own affair.
NOT_TLS = {"write_eof", "half_close", "arm"}
ENDS_TLS = {"close", "abort", "reset"}


@dataclass(frozen=True)
class Step:
    what: str
    side: int
    value: int | str = 0
    settled: bool = True

    def __str__(self) -> str:
        value = f" {self.value}" if self.value != 0 else ""
        end = "" if self.settled else " ..."
        return f"{('client', 'server')[self.side]} {self.what}{value}{end}"


@dataclass(frozen=True)
class Plan:
    seed: int
    family: str
    tls: str
    kinds: tuple[str, str]
    keep_open: tuple[bool, bool]
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        tls = f" {self.tls}" if self.tls else ""
        ends = " and ".join(
            f"{kind}{' that keeps open' if keeps else ''}"
            for kind, keeps in zip(self.kinds, self.keep_open, strict=True)
        )
        steps = "".join(f"\n    {step}" for step in self.steps)
        return f"seed {self.seed}: {self.family}{tls}, {ends}{steps}"


def plan_of(seed: int) -> Plan:
    chance = random.Random(seed)
    family = chance.choice(["tcp", "tcp", "unix"])
    tls = chance.choice(["", "", "", "", "ssl", "start_tls"])
    kinds = (chance.choice(KINDS), chance.choice(KINDS))
    steps: list[Step] = []
    while len(steps) < STEPS_MAX and (len(steps) < 4 or chance.random() < 0.95):
        steps += steps_of(chance, family, tls, kinds)
    # asyncio keeps a TLS connection open for nobody, and a stream always.
    keep_open = tuple(not tls and (kind == "streams" or chance.random() < 0.5) for kind in kinds)
    return Plan(seed, family, tls, kinds, (keep_open[0], keep_open[1]), tuple(steps))


def steps_of(chance: random.Random, family: str, tls: str, kinds: tuple[str, str]) -> list[Step]:
    """One step that these ends can take, and what has to come before it."""
    side = chance.choice([CLIENT, SERVER])
    what = chance.choices(list(STEPS), list(STEPS.values()))[0]
    if what in (NOT_STREAMS if kinds[side] == "streams" else STREAMS_ONLY):
        return []
    if tls and what in NOT_TLS:
        return []
    if what == "reset" and family == "unix":
        # There is no RST on a Unix socket.
        return []
    if tls and what in ENDS_TLS:
        # sslproto says goodbye and waits for the answer: nobody may be in the way.
        clear = [
            Step(name, end, value)
            for name, value in (("flow", "straight"), ("resume", 0))
            for end in (CLIENT, SERVER)
        ]
        return [*clear, Step(what, side)]
    # With TLS what is encrypted when depends on the turn.
    step = Step(what, side, value_of(chance, what), bool(tls) or chance.random() < 0.7)
    if step.value == "held" and chance.random() < 0.5:
        # Or flow control would be rare.
        return [step, Step("write", side, LARGE_BYTES)]
    if step.value == "pause":
        return [step, *steps_into_a_pause(chance, side)]
    return [step]


def steps_into_a_pause(chance: random.Random, side: int) -> list[Step]:
    """What goes on coming while *side*, which is armed, pauses in the middle of it."""
    peer, size = 1 - side, chance.choice([100, 10_000])
    again = [Step("arm", side, "pause", False), Step("resume", side)]
    return chance.choice(
        [
            [],
            # The end right behind the data, and seen together with it.
            [Step("write", peer, size, False), Step("write_eof", peer)],
            [
                Step("flow", peer, "coalesce"),
                Step("write", peer, size, False),
                Step("write_eof", peer),
            ],
            # More data than one piece, and another pause in what was held back.
            [Step("write", peer, LARGE_BYTES), *again, *again],
        ]
    )


def value_of(chance: random.Random, what: str) -> int | str:
    if what == "write":
        return chance.choice([0, 1, 100, 3000, 10_000, LARGE_BYTES])
    if what == "flow":
        return chance.choice(FLOWS)
    if what == "arm":
        return chance.choice(["pause", "pause", "close", "abort"])
    if what == "limits":
        return chance.choice([0, 1, 1000, 64 * 1024])
    return 0
