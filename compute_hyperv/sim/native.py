# SPDX-License-Identifier: Apache-2.0
"""Threads, locks and queues of the operating system, whatever eventlet did.

The simulator's DLLs and listeners run in native threads also in a process
where eventlet has replaced ``threading``, ``queue`` and ``_thread``: os_win
hands every DLL call to a native thread pool.  A green lock there ends in
"Cannot switch to a different thread".  These names are native in either
order of import.  Never log or yield while holding one of these locks.
"""

import _queue
import os
import signal
import sys
import types
from typing import Any
from typing import List
from typing import Optional
from typing import Tuple


def original(name: str) -> types.ModuleType:
    """The module as it was before eventlet patched it (if it did)."""
    patcher = sys.modules.get('eventlet.patcher')
    if patcher is None:
        return __import__(name)
    module: types.ModuleType = patcher.original(name)
    return module


_sockets: Any = __import__('_socket')
_threads: Any = original('_thread')
_time: Any = original('time')

Lock = _threads.allocate_lock
Local = _threads._local
get_ident = _threads.get_ident
start_new_thread = _threads.start_new_thread
monotonic = _time.monotonic
sleep = _time.sleep
SimpleQueue = _queue.SimpleQueue
socket = _sockets.socket


#: Windows ends a process for good with any signal but Ctrl-C's.
KILL: int = getattr(signal, 'SIGKILL', signal.SIGTERM)


def kill_this_process() -> None:
    """End this process at once: no cleanup, no exit handlers."""
    os.kill(os.getpid(), KILL)


def socketpair() -> Tuple[Any, Any]:
    """Two connected native sockets."""
    first, second = _sockets.socketpair()
    return first, second


class RLock:
    """A reentrant native lock.

    Not ``_thread.RLock``: eventlet looks for its instances and swaps them.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._owner: Optional[int] = None
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Like threading.RLock.acquire; *timeout* in seconds."""
        me = get_ident()
        if self._owner == me:
            self._count += 1
            return True
        if not self._lock.acquire(blocking, timeout):
            return False
        self._owner = me
        self._count = 1
        return True

    def release(self) -> None:
        """Give the lock back; raises RuntimeError if it is not ours."""
        if self._owner != get_ident():
            raise RuntimeError('cannot release un-acquired lock')
        self._count -= 1
        if not self._count:
            self._owner = None
            self._lock.release()

    def __enter__(self) -> 'RLock':
        self.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


class Condition:
    """A condition variable over :class:`RLock`, held once when waiting."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._waiters: List[Any] = []

    def __enter__(self) -> 'Condition':
        self._lock.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        self._lock.release()

    def wait(self, timeout_s: Optional[float] = None) -> bool:
        """Sleep until notified; False after *timeout_s* (None: for ever)."""
        waiter = Lock()
        waiter.acquire()
        self._waiters.append(waiter)
        self._lock.release()
        try:
            return bool(waiter.acquire(
                True, -1 if timeout_s is None else max(0.0, timeout_s)))
        finally:
            self._lock.acquire()
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def notify_all(self) -> None:
        """Wake everybody who waits; the lock must be held."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.release()


class Thread:
    """A native daemon thread that can be joined."""

    def __init__(self, target: Any, *args: Any) -> None:
        self._done = Lock()
        self._done.acquire()
        self._target = target
        self._args = args
        self.ident: Optional[int] = None

    def start(self) -> 'Thread':
        """Run the target; returns self."""
        start_new_thread(self._run, ())
        return self

    def _run(self) -> None:
        self.ident = get_ident()
        try:
            self._target(*self._args)
        finally:
            self._done.release()

    def join(self, timeout_s: Optional[float] = None) -> bool:
        """Whether the thread ended within *timeout_s* (None: for ever)."""
        ended = bool(self._done.acquire(
            True, -1 if timeout_s is None else max(0.0, timeout_s)))
        if ended:
            self._done.release()
        return ended
