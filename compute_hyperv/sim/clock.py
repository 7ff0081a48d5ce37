# SPDX-License-Identifier: Apache-2.0
"""The fabric's time.

=========  ================================================================
instant    (default) what takes time on Windows takes none; timers that
           wait for a fixed span (a finished job vanishes after minutes)
           go by the real clock and by ``advance``
real       jobs, boots and shutdowns last as long as configured
stepped    time stands still except for ``advance``
=========  ================================================================
"""

from __future__ import annotations

import heapq
import itertools
import time as system_time
import typing

from . import native

MODES = ('instant', 'real', 'stepped')


class Timer:
    """A function that will be called; ``cancel`` takes it back."""

    def __init__(self, due_s: float,
                 function: typing.Callable[[], object]) -> None:
        self.due_s = due_s
        self.function: typing.Optional[
            typing.Callable[[], object]] = function

    def cancel(self) -> None:
        self.function = None


class Clock:
    """Time of one fabric.

    :param mode: one of :data:`MODES`.
    :param scale: in real mode, what durations are multiplied with.
    :param lock: held while timers' functions run.
    """

    def __init__(self, mode: str, lock: typing.Any,
                 scale: float = 1.0) -> None:
        if mode not in MODES:
            raise ValueError(f'clock {mode!r} is none of {MODES}')
        self.mode = mode
        self.scale = scale
        self._fabric_lock = lock
        self._condition = native.Condition()
        self._timers: typing.List[typing.Tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._ahead_s = 0.0
        self._origin_s: float = native.monotonic()
        self._thread: typing.Optional[native.Thread] = None
        self._closed = False

    def time(self) -> float:
        """Seconds since the epoch."""
        if self.mode == 'stepped':
            return float(_EPOCH_S + self._ahead_s)
        return system_time.time() + self._ahead_s

    def monotonic(self) -> float:
        """Seconds since the fabric began."""
        if self.mode == 'stepped':
            return float(self._ahead_s)
        return float(native.monotonic()) - self._origin_s + self._ahead_s

    def duration(self, seconds: float) -> float:
        """How long something lasts that takes *seconds* on Windows."""
        return 0.0 if self.mode == 'instant' else seconds * self.scale

    def sleep(self, seconds: float) -> None:
        """Hold the calling thread up."""
        if self.mode == 'stepped':
            self.advance(seconds)
        else:
            native.sleep(seconds)

    def call_later(self, delay_s: float,
                   function: typing.Callable[[], object]) -> Timer:
        """Call *function* under the fabric's lock after *delay_s*."""
        timer = Timer(self.monotonic() + delay_s, function)
        with self._condition:
            heapq.heappush(self._timers,
                           (timer.due_s, next(self._order), timer))
            if self._thread is None and self.mode != 'stepped':
                self._thread = native.Thread(self._run).start()
            self._condition.notify_all()
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass; timers that come due run, in order."""
        target_s = self.monotonic() + seconds
        while True:
            with self._condition:
                due_s = min(self._timers[0][0] if self._timers
                            else target_s, target_s)
                if self.mode == 'stepped':
                    # Adding the difference could fall short by a rounding
                    # error, for ever.
                    self._ahead_s = max(self._ahead_s, due_s)
                else:
                    self._ahead_s += max(0.0, due_s - self.monotonic())
            if not self._run_due() and self.monotonic() >= target_s:
                return

    def _pop_due(self) -> typing.Optional[Timer]:
        with self._condition:
            if self._timers and self._timers[0][0] <= self.monotonic():
                return heapq.heappop(self._timers)[2]
        return None

    def _run_due(self) -> bool:
        timer = self._pop_due()
        if timer is None:
            return False
        with self._fabric_lock:
            function, timer.function = timer.function, None
            if function is not None:
                function()
        return True

    def _run(self) -> None:
        while not self._closed:
            if self._run_due():
                continue
            with self._condition:
                if self._closed:
                    return
                self._condition.wait(
                    max(0.0, self._timers[0][0] - self.monotonic())
                    if self._timers else None)

    def close(self) -> None:
        """Forget all timers and end the thread that runs them."""
        with self._condition:
            self._closed = True
            self._timers.clear()
            self._condition.notify_all()


_EPOCH_S = 1767225600.0     # stepped time begins on 1 January 2026
