# SPDX-License-Identifier: Apache-2.0
"""What kernel32 keeps for a process: handles, last errors, waiting threads.

Waits and asynchronous procedure calls are per native thread, as on
Windows: os_win's pipe workers are native threads also under eventlet.
"""

import _queue
import collections
import ctypes
import itertools
import sys
from typing import Any
from typing import Callable
from typing import Deque
from typing import Dict
from typing import List
from typing import Optional
from typing import Sequence
from typing import Type
from typing import TypeVar

from .. import native
from .. import poller
from .. import winerror
from ..winerror import WinError

INFINITE = 0xFFFFFFFF
WAIT_OBJECT_0 = 0
WAIT_ABANDONED_0 = 0x80
WAIT_IO_COMPLETION = 0xC0
WAIT_TIMEOUT = 258
WAIT_FAILED = 0xFFFFFFFF
MAXIMUM_WAIT_OBJECTS = 64
#: The first handle number; on Windows far from those of the kernel.
FIRST_HANDLE = 0x40000000 if sys.platform == 'win32' else 0x100

H = TypeVar('H', bound='Handle')


class Handle:
    """Something that a handle number stands for."""

    def close(self) -> None:
        """The last handle was closed."""


class HostHandle(Handle):
    """A handle that the host keeps, such as of a virtual disk.

    :ivar number: what the host knows it by.
    """

    def __init__(self, number: int, close: Callable[[], Any]) -> None:
        self.number = number
        self._close = close

    def close(self) -> None:
        self._close()


class Waitable(Handle):
    """An object to wait for; its methods are called under System.lock."""

    def __init__(self) -> None:
        self.waiters: List[Any] = []

    def ready(self, thread: int) -> bool:
        """Whether a wait of this thread would be satisfied now."""
        raise AssertionError('every kind of object decides this')

    def take(self, thread: int) -> int:
        """A wait was satisfied; the number to add to WAIT_OBJECT_0."""
        return 0

    def wake(self) -> None:
        """Let those who wait look again."""
        for waiter in self.waiters:
            waiter.put(None)


class _Thread:
    """A native thread that waits or has completions to run."""

    def __init__(self) -> None:
        self.calls: Deque[Callable[[], None]] = collections.deque()
        self.waiter: Any = None


class System:
    """The kernel's view of one process on one host.

    :ivar lock: guards all states; never held while anything else runs.
    """

    def __init__(self, port: Any) -> None:
        self.port = port
        self.lock = native.RLock()
        self._numbers = itertools.count(FIRST_HANDLE, 4)
        self._handles: Dict[int, Handle] = {}
        self._threads: Dict[int, _Thread] = {}
        self._errors = native.Local()
        self._memory: Dict[int, Any] = {}
        self.poller = poller.Poller()
        #: Named events, mutexes and jobs of this process.
        self.names: Dict[str, Handle] = {}

    # -- last error ------------------------------------------------------

    @property
    def last_error(self) -> int:
        """The calling thread's error code."""
        if sys.platform == 'win32':
            return ctypes.get_last_error()
        return int(getattr(self._errors, 'code', 0))

    @last_error.setter
    def last_error(self, code: int) -> None:
        if sys.platform == 'win32':
            ctypes.set_last_error(code)
        self._errors.code = code

    # -- memory that LocalFree gives back --------------------------------

    def allocate(self, memory: Any) -> int:
        """Keep a ctypes object until :meth:`free`; returns its address."""
        address = ctypes.addressof(memory)
        self._memory[address] = memory
        return address

    def memory(self, address: Optional[int]) -> Any:
        """The object that was allocated there, or None."""
        return self._memory.get(address or 0)

    def free(self, address: int) -> bool:
        """Let go of memory; False if it is none of ours."""
        return self._memory.pop(address, None) is not None

    # -- handles ---------------------------------------------------------

    def add(self, handle: Handle) -> int:
        """A new handle number for an object."""
        with self.lock:
            number = next(self._numbers)
            self._handles[number] = handle
            return number

    def handle(self, number: Optional[int], kind: Type[H]) -> H:
        """The object behind a number.

        :raises WinError: 6, no such handle or one of another kind.
        """
        with self.lock:
            found = self._handles.get(number or 0)
        if not isinstance(found, kind):
            raise WinError(winerror.INVALID_HANDLE)
        return found

    def close(self, number: Optional[int]) -> None:
        """CloseHandle; WinError 6 if there is no such handle."""
        with self.lock:
            found = self._handles.pop(number or 0, None)
            if found is None:
                raise WinError(winerror.INVALID_HANDLE)
            shared = any(found is other for other in self._handles.values())
            if not shared:
                self.names = {name: named for name, named
                              in self.names.items() if named is not found}
        if not shared:
            found.close()

    def open_handles(self) -> List[Handle]:
        """Everything that is open in this process."""
        with self.lock:
            return list(self._handles.values())

    def named(self, name: Optional[str], kind: Type[H],
              make: Callable[[], H]) -> 'tuple[H, bool]':
        """The named object, made if need be, and whether it was there.

        :raises WinError: 6, the name belongs to another kind of object.
        """
        with self.lock:
            if not name:
                return make(), False
            found = self.names.get(name)
            if found is None:
                made = make()
                self.names[name] = made
                return made, False
            if not isinstance(found, kind):
                raise WinError(winerror.INVALID_HANDLE)
            return found, True

    # -- waiting ---------------------------------------------------------

    def queue_call(self, thread: int, call: Callable[[], None]) -> None:
        """Have *call* run in a thread's next alertable wait."""
        with self.lock:
            state = self._threads.setdefault(thread, _Thread())
            state.calls.append(call)
            if state.waiter is not None:
                state.waiter.put(None)

    def wait(self, objects: Sequence[Waitable], *, wait_all: bool = False,
             timeout_ms: int = INFINITE, alertable: bool = False) -> int:
        """WaitForMultipleObjectsEx.

        :returns: WAIT_OBJECT_0 + n, WAIT_ABANDONED_0 + n, WAIT_TIMEOUT, or
            WAIT_IO_COMPLETION after completion routines have run here.
        """
        me = native.get_ident()
        deadline = None if timeout_ms == INFINITE else (
            native.monotonic() + timeout_ms / 1000.0)
        waiter: Any = native.SimpleQueue()
        with self.lock:
            for one in objects:
                one.waiters.append(waiter)
        try:
            while True:
                with self.lock:
                    calls = self._take_calls(me, alertable)
                    if not calls:
                        taken = self._take(objects, wait_all, me)
                        if taken is not None:
                            return taken
                        if alertable:
                            self._threads.setdefault(
                                me, _Thread()).waiter = waiter
                for call in calls:
                    call()
                if calls:
                    return WAIT_IO_COMPLETION
                if not _sleep(waiter, deadline):
                    return WAIT_TIMEOUT
        finally:
            self._stop_waiting(me, objects, waiter)

    def _take_calls(self, me: int,
                    alertable: bool) -> List[Callable[[], None]]:
        state = self._threads.get(me)
        if not alertable or state is None:
            return []
        calls = list(state.calls)
        state.calls.clear()
        return calls

    @staticmethod
    def _take(objects: Sequence[Waitable], wait_all: bool,
              me: int) -> Optional[int]:
        ready = [number for number, one in enumerate(objects)
                 if one.ready(me)]
        if not ready or wait_all and len(ready) < len(objects):
            return None
        if wait_all:
            return max([objects[number].take(me) for number in ready])
        return ready[0] + objects[ready[0]].take(me)

    def _stop_waiting(self, me: int, objects: Sequence[Waitable],
                      waiter: Any) -> None:
        with self.lock:
            for one in objects:
                one.waiters.remove(waiter)
            state = self._threads.get(me)
            if state is not None:
                state.waiter = None
                if not state.calls:
                    # The number may belong to another thread tomorrow.
                    del self._threads[me]


def _sleep(waiter: Any, deadline: Optional[float]) -> bool:
    """Wait for a wake-up; False when the deadline has come."""
    left = None if deadline is None else deadline - native.monotonic()
    try:
        waiter.get(True, None if left is None else max(0.0, left))
    except _queue.Empty:
        return False
    return True
