"""What only the plainest model can get wrong: the array that it walks."""

import json
import subprocess
import sys

import pytest

# An array for half a million descriptors is all that there is memory for.
PROGRAM = """\
import json, resource
from headrace.core.operation import WAITS_READABLE
from headrace.models.nonblocking import NonblockingReadiness

readiness = NonblockingReadiness()
count = 0
while count < 1 << 19:
    readiness.add(count, WAITS_READABLE)
    count += 1
with open("/proc/self/statm") as file:
    size_bytes = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size_bytes + 1024 * 1024,) * 2)
refused = 0
for _ in range(3):
    try:
        readiness.add(count, WAITS_READABLE)
    except MemoryError:
        refused += 1
readiness.remove(0)
readiness.add(count, WAITS_READABLE)
print(json.dumps({"refused": refused}))
"""


@pytest.mark.memory
def test_nonblocking_without_memory_for_one_more_refuses_it_each_time():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"refused": 3}
