"""What a model's run of a suite shows beside stock asyncio's, and which differences are firm."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from records import STOCK, Record

__all__ = ["AGAIN_MAX", "Comparison", "compare", "differing"]

AGAIN_MAX = 2

type_of_rerun = Callable[[str, Sequence[str]], Record]


@dataclass
class Comparison:
    """Tests that failed on a model, by what is known of them.

    A test that failed on the model alone is run again, without the others, on both sides.
    """

    on_stock_too: set[str] = field(default_factory=set)
    # Failed each time on the model, never on stock asyncio.
    only_here: set[str] = field(default_factory=set)
    # Passed on the model when it was run again.
    sometimes: set[str] = field(default_factory=set)


def differing(stock: Record, ours: Record) -> set[str]:
    """The tests that failed on the model and did not on stock asyncio."""
    return ours.named("failed") - stock.named("failed")


def compare(stock: Record, ours: Record, rerun: type_of_rerun) -> Comparison:
    """Sort what failed on the model; ``rerun(subject, tests)`` runs some tests again."""
    comparison = Comparison(on_stock_too=ours.named("failed") & stock.named("failed"))
    left = differing(stock, ours)
    for _ in range(AGAIN_MAX):
        # What is no test, such as the end of pytest itself, cannot be run again.
        again = sorted(test for test in left if "::" in test)
        if not again:
            break
        on_stock, here = rerun(STOCK, again), rerun(ours.subject, again)
        comparison.on_stock_too |= left & on_stock.named("failed")
        left -= comparison.on_stock_too
        passed = left & (here.named("passed") | here.named("skipped"))
        comparison.sometimes |= passed
        left -= passed
    comparison.only_here = left
    return comparison
