"""A producer and a consumer as generators: two sides of a conversation in one thread, no lock.

No I/O here, so no model: it is what coroutines are made of. send() runs the consumer until its next
yield, and brings back what it yields; meanwhile the producer stands still. Who runs is decided by
the program and not by the kernel, so nothing is ever shared at the same time. (Python 2's c.next()
is next(c) today; it takes the consumer to its first yield, where send() can reach it.)

    python examples/raw/producer_consumer.py [COUNT]
"""

import signal
import sys


def consumer():
    reply = ""
    while True:
        item = yield reply
        print(f"[CONSUMER] consumes {item}")
        reply = "200 OK"


def produce(consumer, count):
    next(consumer)
    for item in range(1, count + 1):
        print(f"[PRODUCER] produces {item}")
        reply = consumer.send(item)
        print(f"[PRODUCER] consumer replies: {reply}")
    consumer.close()


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head -1` ends it without a word
    try:
        count = int(" ".join(sys.argv[1:]) or 5)
        if count < 0:
            raise ValueError(f"cannot produce {count} items")
    except ValueError as error:
        sys.exit(f"{error}; usage: python {sys.argv[0]} [COUNT]")
    produce(consumer(), count)
