# SPDX-License-Identifier: Apache-2.0
"""Keeps one nova-compute process running, and ends it in order.

States of the supervisor, and what leads from one to the next::

    STARTING --child says running, or start_timeout--> RUNNING
    STARTING, RUNNING --child ends--> WAITING --back-off over--> STARTING
    WAITING --too many ends in a row--> FAILED
    any --stop()--> STOPPING --child ended (or was ended)--> STOPPED

Nothing here is Windows': the service, the console mode and the tests use it
alike. What differs between platforms is in :mod:`.processes`.
"""

from collections.abc import Callable
import dataclasses
import enum
import logging
import threading
import time
from typing import Protocol

LOG = logging.getLogger(__name__)


class State(enum.Enum):
    """State of the supervisor, for the service manager and for people."""

    STARTING = 'starting'
    RUNNING = 'running'
    WAITING = 'waiting to restart'
    STOPPING = 'stopping'
    STOPPED = 'stopped'
    FAILED = 'failed'


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """How patient the supervisor is; all values in seconds but one.

    :ivar start_timeout_s: how long the child may start before the service
        is reported as running all the same (a missing conductor must not
        make the service manager give up).
    :ivar stop_timeout_s: time for a graceful stop; then it is ended firmly.
    :ivar backoff_s: pause before the first restart; doubled each time.
    :ivar max_backoff_s: the longest pause.
    :ivar healthy_s: a child that ran this long clears the count of ends.
    :ivar max_restarts: more restarts in a row than this is failure; 0
        leaves every restart to the service manager's recovery actions.
    """

    start_timeout_s: float = 120.0
    stop_timeout_s: float = 180.0
    backoff_s: float = 5.0
    max_backoff_s: float = 300.0
    healthy_s: float = 600.0
    max_restarts: int = 10

    def pause_s(self, ends: int) -> float:
        """Pause after the *ends*-th end in a row (1, 2, …)."""
        return float(min(self.backoff_s * 2 ** (ends - 1),
                         self.max_backoff_s))


class Child(Protocol):
    """A child process; :class:`compute_hyperv.service.processes.Child`."""

    pid: int

    def poll(self) -> int | None:
        """Exit code, None while it runs."""

    def is_ready(self) -> bool:
        """Whether it has said that it is running."""

    def ask_to_stop(self) -> None:
        """Ask for a graceful stop; repeated calls do nothing more."""

    def kill(self) -> None:
        """End it, and what it started, at once."""

    def close(self) -> None:
        """Give back what this process holds for it."""


class Supervisor:
    """Runs children one after the other, until it is stopped.

    :param launch: starts a child.
    :param report: called with every new state and, for events that an
        operator should see, a text; never raises into the supervisor's
        loop. Called from the thread of :meth:`run`.
    """

    #: Interval of looking at the child, in seconds.
    POLL_S = 0.25

    def __init__(self, launch: Callable[[], Child], *, policy: Policy,
                 report: Callable[[State, str], None],
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._launch = launch
        self._policy = policy
        self._report = report
        self._clock = clock
        self._stop = threading.Event()
        self.state = State.STARTING
        self.last_exit_code: int | None = None

    def stop(self) -> None:
        """Ask for the end; :meth:`run` returns when it is reached."""
        self._stop.set()

    def run(self) -> State:
        """Supervise until stopped or failed.

        :returns: STOPPED, or FAILED when the policy's patience is over.
        """
        ends = 0
        while True:
            began = self._clock()
            self._watch_one()
            if self._stop.is_set():
                return self._enter(State.STOPPED, 'nova-compute has stopped.')
            if self._clock() - began >= self._policy.healthy_s:
                ends = 0
            ends += 1
            if ends > self._policy.max_restarts:
                return self._enter(
                    State.FAILED, f'nova-compute ended {ends} times in a row '
                    f'(last exit code {self.last_exit_code}); giving up.')
            pause_s = self._policy.pause_s(ends)
            self._enter(State.WAITING, f'nova-compute ended with exit code '
                        f'{self.last_exit_code}; starting it again in '
                        f'{pause_s:.0f} s (attempt {ends} of '
                        f'{self._policy.max_restarts}).')
            if self._stop.wait(pause_s):
                return self._enter(State.STOPPED, 'nova-compute has stopped.')

    def _enter(self, state: State, text: str = '') -> State:
        if text:
            LOG.info('%s', text)
        self.state = state
        try:
            self._report(state, text)
        except Exception:    # a broken service manager must not end the child
            LOG.exception('Could not report the state %s', state.value)
        return state

    def _watch_one(self) -> None:
        """Start a child and stay until it has ended."""
        self._enter(State.STARTING)
        child = self._launch()
        try:
            self._watch(child)
        finally:
            self.last_exit_code = child.poll()
            child.close()

    def _watch(self, child: Child) -> None:
        ready_by = self._clock() + self._policy.start_timeout_s
        while child.poll() is None:
            if self._stop.is_set():
                self._end(child)
                return
            if self.state is State.STARTING:
                if child.is_ready():
                    self._enter(State.RUNNING,
                                f'nova-compute is running (process '
                                f'{child.pid}).')
                elif self._clock() >= ready_by:
                    self._enter(State.RUNNING,
                                'nova-compute is still starting after '
                                f'{self._policy.start_timeout_s:.0f} s; see '
                                'its log (is nova-conductor up?).')
            self._stop.wait(self.POLL_S)

    def _end(self, child: Child) -> None:
        """Stop a child gracefully, then firmly."""
        self._enter(State.STOPPING, 'Stopping nova-compute.')
        child.ask_to_stop()
        give_up = self._clock() + self._policy.stop_timeout_s
        while child.poll() is None:
            if self._clock() >= give_up:
                LOG.warning('nova-compute did not stop within %.0f s; ending '
                            'it.', self._policy.stop_timeout_s)
                child.kill()
                return
            time.sleep(self.POLL_S)
