"""The little that tests of a client need: cases, waiting, and lines for the runner.

Every case prints `ok N - name` or `not ok N - name`, and the last line is `1..N`.
"""

import os
import sys
import threading
import traceback

HOST = os.environ.get("MQTT_HOST", "127.0.0.1")
PORT = int(os.environ["MQTT_PORT"])
# mqtt, mqtts, ws or wss; and who has signed the broker's certificate.
SCHEME = os.environ.get("MQTT_SCHEME", "mqtt")
CAFILE = os.environ.get("MQTT_CAFILE")

# Far more than anything needs on a busy machine.
PATIENCE_S = 20

CASES = []


def case(name, *args):
    """Registers a function, to be called with `args`, as a test."""

    def register(function):
        CASES.append((name, lambda: function(*args)))
        return function

    return register


def run(client):
    """Runs all cases in the order they were written, and ends the program."""
    failed = 0
    for number, (name, function) in enumerate(CASES, 1):
        try:
            function()
            print(f"ok {number} - {client}: {name}", flush=True)
        except Exception:
            failed += 1
            print(f"not ok {number} - {client}: {name}", flush=True)
            print("# " + traceback.format_exc().replace("\n", "\n# "), flush=True)
    print(f"1..{len(CASES)}", flush=True)
    sys.stdout.flush()
    # Threads of clients that a failed case left behind must not keep the program.
    os._exit(1 if failed else 0)


class Waiting:
    """A list that other threads fill, and that can be waited for."""

    def __init__(self):
        self.items = []
        self._changed = threading.Condition()

    def put(self, item):
        with self._changed:
            self.items.append(item)
            self._changed.notify_all()

    def take(self, what="something"):
        """The next item, removed."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.items, PATIENCE_S):
                raise AssertionError(f"waited in vain for {what}")
            return self.items.pop(0)

    def stays_empty(self, seconds):
        with self._changed:
            return not self._changed.wait_for(lambda: self.items, seconds)

    def take_all(self, count, what="something"):
        return [self.take(f"{what} {n} of {count}") for n in range(1, count + 1)]


def equal(actual, expected, what="value"):
    if actual != expected:
        raise AssertionError(f"{what}: {actual!r} is not {expected!r}")
