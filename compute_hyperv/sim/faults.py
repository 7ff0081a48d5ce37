# SPDX-License-Identifier: Apache-2.0
"""Every call can be seen, delayed and broken.

The :class:`Recorder` counts and lists what clients ask of each host; the
:class:`Faults` make chosen calls slow, fail, hang or kill the caller.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import fnmatch
import typing

from . import errors
from . import native
from . import winerror

if typing.TYPE_CHECKING:
    from . import host as host_module
    from . import ports

#: Kinds of calls that the recorder counts and faults strike.
KINDS = ('connect', 'query', 'method', 'get', 'ref', 'dll', 'file',
         'program')
_WMI = frozenset(('connect', 'query', 'method', 'get', 'ref'))
_TRACE_KEPT = 20000


class Call(typing.NamedTuple):
    """One call that reached a host.

    :ivar kind: 'connect', 'query', 'method', 'get', 'ref' (a reference
        parameter being resolved), 'dll' or 'file'.
    :ivar label: query text, 'Class.Method', object path or function.
    """

    host: str
    kind: str
    label: str


class Recorder:
    """Counts calls by host and kind and keeps the last of them."""

    def __init__(self) -> None:
        self._lock = native.Lock()
        self._counts: typing.Dict[str, typing.Counter[str]] = {}
        self._trace: typing.Deque[typing.Tuple[int, Call]] = (
            collections.deque(maxlen=_TRACE_KEPT))
        self._number = 0
        self._listeners: typing.List[typing.List[Call]] = []

    def note(self, host: str, kind: str, label: str) -> None:
        call = Call(host, kind, label)
        with self._lock:
            self._counts.setdefault(
                host, collections.Counter())[kind] += 1
            self._number += 1
            self._trace.append((self._number, call))
            for listener in self._listeners:
                listener.append(call)

    def counts(self, host: typing.Optional[str] = None
               ) -> typing.Counter[str]:
        """Calls by kind, of one host or of all."""
        with self._lock:
            total: typing.Counter[str] = collections.Counter()
            for name, counter in self._counts.items():
                if host is None or name == host:
                    total.update(counter)
            return total

    def trace(self, host: typing.Optional[str] = None
              ) -> typing.List[Call]:
        """The last calls (at most 20,000), oldest first."""
        with self._lock:
            return [call for _number, call in self._trace
                    if host is None or call.host == host]

    def since(self, number: int, host: typing.Optional[str] = None
              ) -> typing.List[typing.Tuple[int, str, str, str]]:
        """Calls after the one with that number: number, host, kind, label.

        Numbers start at 1 and never start again.
        """
        with self._lock:
            return [(one, *call) for one, call in self._trace
                    if one > number and (host is None or call.host == host)]

    @contextlib.contextmanager
    def recording(self) -> typing.Iterator[typing.List[Call]]:
        """Collect all calls made while the block runs."""
        calls: typing.List[Call] = []
        with self._lock:
            self._listeners.append(calls)
        try:
            yield calls
        finally:
            with self._lock:
                self._listeners = [one for one in self._listeners
                                   if one is not calls]

    def reset(self) -> None:
        with self._lock:
            self._counts.clear()
            self._trace.clear()


class Kill(BaseException):
    """The process that made the call is to die at once."""


@dataclasses.dataclass
class Fault:
    """What happens to some calls.

    Which calls: those that fit ``host``, ``kind`` and ``match`` (a pattern
    with ``*`` and ``?`` over the label, case ignored); of these, from the
    ``nth`` on (1 is the first after the fault was added), ``times`` many
    (None: all).

    What: after ``delay_s`` and ``hang_s`` seconds, one of ``kill``,
    ``hresult`` (x_wmi), ``code`` (ReturnValue of a method), ``win32``
    (error of a DLL or file function).  With ``hang_s`` alone the call ends
    as timed out, with ``delay_s`` alone it goes on to do its work.  With
    nothing at all it fails in the way of its kind.

    With ``at_percent`` it strikes no calls but jobs (a live migration, an
    export): the label is the job's Description, such as 'Moving Virtual
    Machine and Storage', ``kind`` 'job' or None, and the job breaks off
    when it gets there.
    """

    host: typing.Optional[str] = None
    kind: typing.Optional[str] = None
    match: str = '*'
    nth: int = 1
    times: typing.Optional[int] = 1
    delay_s: float = 0.0
    hang_s: float = 0.0
    hresult: typing.Optional[int] = None
    code: typing.Optional[int] = None
    win32: typing.Optional[int] = None
    kill: bool = False
    at_percent: typing.Optional[float] = None
    number: int = 0
    seen: int = 0
    hits: int = 0

    def fits(self, host: str, kind: str, label: str) -> bool:
        return (self.host in (None, host) and self.kind in (None, kind) and
                fnmatch.fnmatchcase(label.lower(), self.match.lower()))

    def due(self) -> bool:
        """Count one more fitting call; whether it is struck."""
        self.seen += 1
        if self.seen < self.nth or (
                self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True

    @property
    def only_delays(self) -> bool:
        return bool(self.delay_s and not self.hang_s and not self.kill and
                    self.hresult is self.code is self.win32 is None)

    def effect(self, kind: str) -> str:
        """What it does to a call of that kind, for people."""
        if self.at_percent is not None:
            return f'breaks the job off at {self.at_percent:g} %'
        if self.kill:
            return 'kills the caller'
        if self.only_delays:
            return f'takes {self.delay_s} s longer'
        if self.code is not None and kind in ('', 'method'):
            return f'returns {self.code}'
        return str(self.error(kind))

    def error(self, kind: str) -> Exception:
        """The error that a call of that kind ends with."""
        if self.hresult is not None:
            return errors.wmi_error(self.hresult)
        if self.win32 is not None and kind not in _WMI:
            return errors.Win32Error(self.win32)
        if self.win32 is not None:
            return errors.wmi_error(0x80070000 | self.win32 & 0xFFFF)
        if kind in _WMI or not kind:
            return errors.wmi_error(errors.WBEM_E_TIMED_OUT if self.hang_s
                                    else errors.WBEM_E_FAILED)
        if self.code is not None:
            return errors.Win32Error(self.code)
        return errors.Win32Error(winerror.SEM_TIMEOUT if self.hang_s
                                 else winerror.NOT_READY)


class Forced(typing.NamedTuple):
    """The outcome that a fault forces on a call."""

    fault: Fault
    kind: str

    def result(self, op: 'ports.Op', host: 'host_module.Host',
               args: typing.Dict[str, typing.Any]) -> typing.Any:
        """Raise, or give what a method would give with that code."""
        if self.fault.kill:
            raise Kill()
        if self.fault.code is not None and op.name == 'wmi.invoke':
            return {'ReturnValue': self.fault.code}
        raise self.fault.error(self.kind)


class Faults:
    """The plan of what goes wrong.

    :ivar latency_s: seconds added to every call, by kind.
    """

    def __init__(self) -> None:
        self._lock = native.Lock()
        self._faults: typing.List[Fault] = []
        self._numbers = 0
        self.latency_s: typing.Dict[str, float] = {}

    @property
    def active(self) -> bool:
        return bool(self._faults or self.latency_s)

    @property
    def delays(self) -> bool:
        return bool(self.latency_s) or any(
            one.delay_s or one.hang_s for one in self._faults)

    def add(self, **what: typing.Any) -> Fault:
        """Plan a fault; arguments are those of :class:`Fault`."""
        fault = Fault(**what)
        with self._lock:
            self._numbers += 1
            fault.number = self._numbers
            self._faults.append(fault)
        return fault

    def remove(self, fault: typing.Union[Fault, int]) -> bool:
        """Drop one fault, given as such or by number."""
        number = fault if isinstance(fault, int) else fault.number
        with self._lock:
            before = len(self._faults)
            self._faults = [one for one in self._faults
                            if one.number != number]
            return len(self._faults) < before

    def clear(self) -> None:
        """Drop all faults and latencies."""
        with self._lock:
            self._faults = []
            self.latency_s = {}

    def __iter__(self) -> typing.Iterator[Fault]:
        return iter(list(self._faults))

    @contextlib.contextmanager
    def failing(self, **what: typing.Any) -> typing.Iterator[Fault]:
        """A fault for the time of the block."""
        fault = self.add(**what)
        try:
            yield fault
        finally:
            self.remove(fault)

    def meet(self, host: str, kind: str, label: str,
             sleep: typing.Callable[[float], None]
             ) -> typing.Optional[Forced]:
        """Delay one call as planned; what is forced on it, or None."""
        delay_s = self.latency_s.get(kind, 0.0)
        forced = None
        with self._lock:
            for fault in self._faults:
                if fault.at_percent is None and (
                        fault.fits(host, kind, label)) and fault.due():
                    delay_s += fault.delay_s + fault.hang_s
                    if not fault.only_delays and forced is None:
                        forced = Forced(fault, kind)
        if delay_s:
            sleep(delay_s)
        return forced

    def of_job(self, host: str, name: str) -> typing.Optional[Fault]:
        """The fault that breaks a job of that name, or None."""
        with self._lock:
            return next((
                fault for fault in self._faults
                if fault.at_percent is not None and
                fault.fits(host, 'job', name) and fault.due()), None)
