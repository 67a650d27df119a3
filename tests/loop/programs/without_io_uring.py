"""What headrace makes of a process to which io_uring is denied (tests/deny_io_uring.py)."""

import json

import headrace


async def nothing():
    return "ran"


loop = headrace.new_event_loop()
answer = {"model": loop.model, "ran": loop.run_until_complete(nothing())}
loop.close()
try:
    headrace.new_event_loop("uring")
except headrace.ModelUnavailableError as error:
    answer["error"] = str(error)
(info,) = [info for info in headrace.models() if info.name == "uring"]
answer["available"] = info.available
answer["reason"] = info.reason
print(json.dumps(answer))
