"""Who waits in phase 1 and who copies in phase 2, in words, from the calls that strace has seen."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.trace.phases import NOT_NOW, RECEIVING, View, waiting_calls
from headrace.trace.strace import Call


def who_waits(view: View) -> str:
    """Who is in a call for the data when they come; and where the loop's thread is meanwhile."""
    taking = view.taking()
    # Other threads wait for work of another kind: they are drawn, and are not the answer.
    calls = [
        call
        for call in waiting_calls(view)
        if call.start < view.request.begin + margin_ns(view)
        and (call in taking or call.thread == view.recording.loop_thread)
    ]
    calls.sort(key=lambda call: call not in taking)
    if not calls:
        return nobody_waits(view)
    words = [f"{view.thread_name(call.thread)}, in {call.name}()" for call in calls]
    if not taking:
        words = ["the kernel", *words]
    return "; meanwhile ".join(words)


def margin_ns(view: View) -> int:
    """A call that began so soon after the beginning has waited through phase 1."""
    return max((view.request.send_start - view.request.begin) // 2, 1)


def nobody_waits(view: View) -> str:
    vain = [
        call
        for call in view.calls()
        if call.name in RECEIVING
        and call.error == NOT_NOW
        and view.recording.is_of_connection(call)
        and call.start < view.phases.there
    ]
    if not vain:
        return "nobody"
    who = view.thread_name(vain[0].thread)
    return f"nobody: {who} calls {vain[0].name}() {len(vain):,} times in vain"


def who_copies(view: View) -> str:
    taking = view.taking()
    if not taking:
        return "the kernel: no thread calls for them"
    return "; ".join(
        copier_words(view, [call for call in taking if call.thread == thread])
        for thread in dict.fromkeys(call.thread for call in taking)
    )


def copier_words(view: View, calls: Sequence[Call]) -> str:
    words = f"{view.thread_name(calls[0].thread)}, in {calls[0].name}()"
    return words if len(calls) == 1 else f"{words}, {len(calls):,} times"
