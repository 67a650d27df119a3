"""Use headrace in a sub-interpreter, before the main interpreter and after it."""

import json
import sys

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

USE = "import headrace; headrace.new_event_loop().close()"


def used_in_new_interpreter():
    made = interpreters.create()
    try:
        # Before 3.13 it raises, from then on it answers what went wrong.
        answer = interpreters.run_string(made, USE)
        return "worked" if answer is None else answer.msg
    except interpreters.RunFailedError as error:
        return str(error)
    finally:
        interpreters.destroy(made)


async def works():
    return "worked"


answers = [used_in_new_interpreter()]
import headrace  # noqa: E402  (after the sub-interpreter)

answers.append(headrace.run(works()))
answers += [used_in_new_interpreter() for _ in range(3)]
answers.append(headrace.run(works()))
json.dump(answers, sys.stdout)
