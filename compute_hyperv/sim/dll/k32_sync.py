# SPDX-License-Identifier: Apache-2.0
"""kernel32: events, mutexes, processes, jobs, and waiting for them."""

import ctypes
import os
import signal
from typing import Any
from typing import Dict
from typing import List
from typing import Optional
from typing import Set

from .. import native
from .. import poller
from .. import winerror
from . import system
from ..winerror import WinError
from .system import Handle
from .system import System
from .system import Waitable

_LIMIT_INFORMATION = 9                  # JobObjectExtendedLimitInformation
_KILL_ON_CLOSE = 0x2000
_SYNCHRONIZE = 0x100000


class Event(Waitable):
    """An event; manual ones stay set."""

    def __init__(self, manual: bool, is_set: bool) -> None:
        super().__init__()
        self.manual = manual
        self.is_set = is_set

    def ready(self, thread: int) -> bool:
        return self.is_set

    def take(self, thread: int) -> int:
        self.is_set = self.manual
        return 0


class Mutex(Waitable):
    """A mutex: its owner may take it again."""

    def __init__(self) -> None:
        super().__init__()
        self.owner: Optional[int] = None
        self.count = 0

    def ready(self, thread: int) -> bool:
        return self.owner in (None, thread)

    def take(self, thread: int) -> int:
        self.owner = thread
        self.count += 1
        return 0


class Process(Waitable):
    """A process of this machine."""

    def __init__(self, pid: int, lock: Any, watcher: poller.Poller) -> None:
        super().__init__()
        self.pid = pid
        self.ended = False
        self._lock = lock
        self._watcher = watcher
        try:
            # Names this process even when its number is used again.
            self._descriptor = os.pidfd_open(pid)
        except OSError as error:
            raise WinError(winerror.INVALID_PARAMETER) from error

    def watch(self) -> None:
        """Have waiting threads learn when it ends."""
        self._watcher.watch(self._descriptor, self._end)

    def _end(self) -> None:
        self._watcher.forget(self._descriptor)
        with self._lock:
            self.ended = True
            self.wake()

    def ready(self, thread: int) -> bool:
        return self.ended

    def close(self) -> None:
        self._watcher.forget(self._descriptor)
        os.close(self._descriptor)


class Job(Handle):
    """A job object; may kill its processes when its handle is closed."""

    def __init__(self) -> None:
        self.kill_on_close = False
        self.pids: Set[int] = set()

    def close(self) -> None:
        if not self.kill_on_close:
            return
        for pid in _with_descendants(self.pids):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue                # ended by itself


def _with_descendants(pids: Set[int]) -> List[int]:
    """The processes and their children, which are in the job as well."""
    children: Dict[int, List[int]] = {}
    for name in os.listdir('/proc'):
        if not name.isdigit():
            continue
        try:
            with open('/proc/%s/stat' % name, 'rb') as file:
                fields = file.read().rpartition(b')')[2].split()
        except OSError:
            continue                    # ended meanwhile
        children.setdefault(int(fields[1]), []).append(int(name))
    found = list(pids)
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


class SyncFunctions:
    """What kernel32 has to wait with."""

    _system: System

    def _named(self, name: Optional[str], kind: Any, make: Any) -> int:
        found, existed = self._system.named(name, kind, make)
        number = self._system.add(found)
        self._system.last_error = winerror.ALREADY_EXISTS if existed else 0
        return number

    def do_CreateEventW(self, attributes: Any, manual: int, initial: int,
                        name: Optional[str]) -> int:
        return self._named(name, Event,
                           lambda: Event(bool(manual), bool(initial)))

    def do_SetEvent(self, handle: Optional[int]) -> int:
        event = self._system.handle(handle, Event)
        with self._system.lock:
            event.is_set = True
            event.wake()
        return 1

    def do_ResetEvent(self, handle: Optional[int]) -> int:
        self._system.handle(handle, Event).is_set = False
        return 1

    def do_CreateMutexW(self, attributes: Any, owned: int,
                        name: Optional[str]) -> int:
        number = self._named(name, Mutex, Mutex)
        if owned and not self._system.last_error:
            self._system.wait([self._system.handle(number, Mutex)])
        return number

    def do_ReleaseMutex(self, handle: Optional[int]) -> int:
        mutex = self._system.handle(handle, Mutex)
        with self._system.lock:
            if mutex.owner != native.get_ident():
                raise WinError(winerror.NOT_OWNER)
            mutex.count -= 1
            if not mutex.count:
                mutex.owner = None
                mutex.wake()
        return 1

    def do_WaitForSingleObject(self, handle: Optional[int],
                               timeout_ms: int) -> int:
        return self._system.wait([self._system.handle(handle, Waitable)],
                                 timeout_ms=timeout_ms)

    def do_WaitForSingleObjectEx(self, handle: Optional[int],
                                 timeout_ms: int, alertable: int) -> int:
        return self._system.wait([self._system.handle(handle, Waitable)],
                                 timeout_ms=timeout_ms,
                                 alertable=bool(alertable))

    def do_WaitForMultipleObjects(self, count: int, handles: Any,
                                  wait_all: int, timeout_ms: int) -> int:
        if not handles or not 0 < count <= system.MAXIMUM_WAIT_OBJECTS:
            raise WinError(winerror.INVALID_PARAMETER)
        numbers = [handles[index] for index in range(count)]
        if len(set(numbers)) < count:
            raise WinError(winerror.INVALID_PARAMETER)
        return self._system.wait(
            [self._system.handle(number, Waitable) for number in numbers],
            wait_all=bool(wait_all), timeout_ms=timeout_ms)

    def do_OpenProcess(self, access: int, inherit: int, pid: int) -> int:
        process = Process(pid, self._system.lock, self._system.poller)
        if access & _SYNCHRONIZE:
            process.watch()
        return self._system.add(process)

    def do_CreateJobObjectW(self, attributes: Any,
                            name: Optional[str]) -> int:
        return self._named(name, Job, Job)

    def do_SetInformationJobObject(self, handle: Optional[int], kind: int,
                                   data: Optional[int], size: int) -> int:
        job = self._system.handle(handle, Job)
        if kind != _LIMIT_INFORMATION or not data:
            raise WinError(winerror.INVALID_PARAMETER)
        # BasicLimitInformation: two 64-bit times, then LimitFlags.
        flags = ctypes.c_uint32.from_address(data + 16).value
        job.kill_on_close = bool(flags & _KILL_ON_CLOSE)
        return 1

    def do_AssignProcessToJobObject(self, job: Optional[int],
                                    process: Optional[int]) -> int:
        pid = self._system.handle(process, Process).pid
        self._system.handle(job, Job).pids.add(pid)
        return 1
