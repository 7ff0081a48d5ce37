# SPDX-License-Identifier: Apache-2.0
"""Do something for each of many keys, a while after it was asked for."""

from __future__ import annotations

from collections.abc import Callable
import heapq
import logging
import threading
import time

LOG = logging.getLogger(__name__)


class Delayed:
    """Calls one action per key after a delay, in one thread of its own.

    A key that waits already is not queued twice. An action that raises is
    logged and forgotten: whoever needs it asks again.

    :param action: called with the key.
    :param delay_s: seconds between :meth:`ask` and the call.
    """

    def __init__(self, action: Callable[[str], object],
                 delay_s: float) -> None:
        self._action = action
        self._delay_s = delay_s
        self._changed = threading.Condition()
        self._queue: list[tuple[float, str]] = []
        self._thread: threading.Thread | None = None
        self._stopped = False

    def ask(self, key: str) -> bool:
        """Queue a key.

        :returns: False if it waits already.
        """
        with self._changed:
            if any(key == waiting for _due, waiting in self._queue):
                return False
            due = time.monotonic() + self._delay_s
            heapq.heappush(self._queue, (due, key))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name='delayed', daemon=True)
                self._thread.start()
            self._changed.notify()
            return True

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread; what still waits is dropped."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while (key := self._next()) is not None:
            try:
                self._action(key)
            except Exception:        # the thread serves the other keys too
                LOG.exception('Delayed action failed for %s', key)

    def _next(self) -> str | None:
        """Wait for the next key that is due; None at the end."""
        with self._changed:
            while not self._stopped:
                if not self._queue:
                    self._changed.wait()
                    continue
                left_s = self._queue[0][0] - time.monotonic()
                if left_s <= 0:
                    return heapq.heappop(self._queue)[1]
                self._changed.wait(left_s)
        return None
