# SPDX-License-Identifier: Apache-2.0
"""How an operation undoes, waits, retries and reports; one idiom of each."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import functools
import threading
import time
from types import TracebackType
from typing import Any
from typing import Protocol
from typing import Self
from typing import TypeVar

from oslo_log import log as logging

from compute_hyperv import errors

LOG = logging.getLogger(__name__)

_T = TypeVar('_T')


class Clock(Protocol):
    """What waiting needs of time; the module :mod:`time` is one."""

    def monotonic(self) -> float:
        """Seconds that only grow."""

    def sleep(self, seconds: float, /) -> None:
        """Return after *seconds*."""


class Rollback:
    """Undo steps of one operation; leaving without an exception commits.

    ``with Rollback('spawn') as undo: ...; undo.on_failure(f, *args)``. When
    the block is left by an exception, the steps run in reverse order; an
    error in one of them is logged and the others still run, and the caller
    sees the first error. Undo actions tolerate "nothing there". An atomic
    step registers right after itself; one that can fail half-way registers
    before, and works on what only this operation owns.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._undo: list[functools.partial[Any]] = []

    def on_failure(self, undo: Callable[..., Any], *args: Any,
                   **kwargs: Any) -> None:
        """Run ``undo(*args, **kwargs)`` if the block fails later."""
        self._undo.append(functools.partial(undo, *args, **kwargs))

    def leave(self) -> None:
        """Undo nothing of what was done so far: it may be in use."""
        self._undo.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None,
                 exc: BaseException | None,
                 traceback: TracebackType | None) -> None:
        while exc_type is not None and self._undo:
            undo = self._undo.pop()
            try:
                undo()
            except Exception:               # the caller sees the first error
                LOG.exception("Rollback of %s: %s failed", self._what,
                              getattr(undo.func, '__qualname__', undo.func))


def until(check: Callable[[], _T], *, what: str, timeout_s: float,
          interval_s: float = 1.0, clock: Clock = time) -> _T:
    """Return the first true result of *check*.

    :param what: names the wait in the error.
    :param timeout_s: how long to try; *check* is called at least once.
    :raises WaitTimeout: not true within *timeout_s* seconds.
    """
    deadline = clock.monotonic() + timeout_s
    while not (result := check()):
        left_s = deadline - clock.monotonic()
        if left_s <= 0:
            raise errors.WaitTimeout(what=what, timeout_s=timeout_s)
        clock.sleep(min(interval_s, left_s))
    return result


def retry(call: Callable[..., _T], *args: Any,
          on: tuple[type[BaseException], ...],
          only_if: Callable[[BaseException], bool] | None = None,
          attempts: int | None = None, timeout_s: float | None = None,
          delay_s: float = 1.0, clock: Clock = time) -> _T:
    """Call until it does not raise one of *on*; the last error is raised.

    :param on: the errors worth another attempt; others are raised at once.
    :param only_if: decides further, e.g. by the error's Windows code.
    :param attempts: at most so many calls (None: no limit).
    :param timeout_s: no new attempt after so many seconds (None: no limit);
        one of both limits is required.
    :param delay_s: pause between two attempts, seconds.
    """
    if attempts is None and timeout_s is None:
        raise ValueError('a retry needs a limit')
    deadline = None if timeout_s is None else clock.monotonic() + timeout_s
    made = 0
    while True:
        made += 1
        try:
            return call(*args)
        except on as exc:
            over = ((attempts is not None and made >= attempts) or
                    (deadline is not None and clock.monotonic() >= deadline))
            if over or (only_if is not None and not only_if(exc)):
                raise
            LOG.debug("Attempt %d of %s failed, trying again: %s", made,
                      getattr(call, '__qualname__', call), exc)
            clock.sleep(delay_s)


def bounded(call: Callable[..., _T], *args: Any, what: str,
            timeout_s: float) -> _T:
    """Call what may wait for ever, in a thread; give up after a time.

    :param what: names the call in the error.
    :raises WaitTimeout: it is not done within *timeout_s* seconds. The
        thread goes on until the call ends; nobody hears of its outcome.
    """
    outcome: list[_T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(call(*args))
        except BaseException as exc:        # raised again by the caller
            failure.append(exc)

    thread = threading.Thread(target=run, daemon=True, name=what)
    thread.start()
    thread.join(timeout_s)
    if failure:
        raise failure[0]
    if not outcome:
        raise errors.WaitTimeout(what=what, timeout_s=timeout_s)
    return outcome[0]


class Progress:
    """Reports a long operation and lets somebody else abort it.

    The worker calls :meth:`step` between two parts and :meth:`report` inside
    a long one; both raise :class:`errors.Aborted` after :meth:`abort`.
    """

    def __init__(self, what: str, *, interval_s: float = 10.0,
                 clock: Clock = time) -> None:
        self._what = what
        self._interval_s = interval_s
        self._clock = clock
        self._started = self._said = clock.monotonic()
        self._step = 'start'
        self._aborted = threading.Event()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the operation began."""
        return self._clock.monotonic() - self._started

    def abort(self) -> None:
        """Make the worker stop at its next step; callable by any thread."""
        self._aborted.set()

    def step(self, name: str) -> None:
        """Enter the part *name* of the operation."""
        if self._aborted.is_set():
            raise errors.Aborted(what=self._what, step=name)
        LOG.debug("%s: %s (%.1f s so far)", self._what, name, self.elapsed_s)
        self._step = name
        self._said = self._clock.monotonic()

    def report(self, done: float, total: float, unit: str = 'bytes') -> None:
        """Say how far the part is, at most once per *interval_s* seconds."""
        if self._aborted.is_set():
            raise errors.Aborted(what=self._what, step=self._step)
        now = self._clock.monotonic()
        if now - self._said >= self._interval_s:
            self._said = now
            share = 100 * done / total if total else 100
            LOG.info("%s: %s, %d of %d %s (%d %%), %.0f s so far",
                     self._what, self._step, done, total, unit, share,
                     self.elapsed_s)

    @contextlib.contextmanager
    def watching(self, done_bytes: Callable[[], int],
                 total_bytes: int) -> Iterator[None]:
        """Report now and then, in a thread, what the block has written.

        :param done_bytes: how much; asked every *interval_s* seconds.
        """
        stopped = threading.Event()
        thread = threading.Thread(
            target=self._watch, args=(stopped, done_bytes, total_bytes),
            name=f'{self._what} progress', daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def _watch(self, stopped: threading.Event,
               done_bytes: Callable[[], int], total_bytes: int) -> None:
        while not stopped.wait(self._interval_s):
            try:
                self.report(done_bytes(), total_bytes)
            except (OSError, ValueError, errors.Aborted) as exc:
                # The writer has the say; it may rename or close the file.
                LOG.debug("%s: no progress: %s", self._what, exc)
