# SPDX-License-Identifier: Apache-2.0
"""DLL functions that ctypes calls as it calls real ones.

os_win declares ``argtypes`` and ``restype`` of each function; from them a
C callable is made around a Python method.  Arguments thus take the same
way through libffi as on Windows: wrong types raise ArgumentError, and
structures arrive as typed memory, so no structure of os_win is repeated
here.  Sizes follow os_win's declarations (``c_wchar`` stays four bytes on
Linux): measure with ctypes.sizeof, never with literals.
"""

import ctypes
from typing import Any
from typing import Callable
from typing import Dict
from typing import Optional
from typing import Sequence
from typing import TypeVar

from .. import native
from ..winerror import WinError

M = TypeVar('M', bound=Callable[..., Any])

#: Exceptions on their way through the C frame, one slot per thread.
_crossing = native.Local()


def wants_addresses(method: M) -> M:
    """Give this method addresses for strings: it fills a buffer."""
    method.wants_addresses = True       # type: ignore[attr-defined]
    return method


class Function:
    """A foreign function look-alike.

    :ivar argtypes: sequence of ctypes types, or None until registered.
    :ivar restype: ctypes type of the result, None for void.
    """

    def __init__(self, name: str, run: Callable[..., Any],
                 failed: Callable[[str, WinError], Any]) -> None:
        self.__name__ = name
        self._run = run
        self._failed = failed
        self._argtypes: Optional[Sequence[Any]] = None
        self._restype: Any = ctypes.c_int
        self._thunk: Any = None
        self._entry: Any = None

    @property
    def argtypes(self) -> Optional[Sequence[Any]]:
        return self._argtypes

    @argtypes.setter
    def argtypes(self, types: Optional[Sequence[Any]]) -> None:
        self._argtypes = types
        self._thunk = None

    @property
    def restype(self) -> Any:
        return self._restype

    @restype.setter
    def restype(self, kind: Any) -> None:
        # vhdutils assigns it again before every call.
        if kind is not self._restype:
            self._restype = kind
            self._thunk = None

    def __call__(self, *args: Any) -> Any:
        if self._argtypes is None:
            raise TypeError('%s was never registered' % self.__name__)
        thunk = self._thunk
        if thunk is None:
            thunk = self._thunk = self._make_thunk(self._argtypes)
        result = thunk(*args)
        error = getattr(_crossing, 'error', None)
        if error is not None:
            _crossing.error = None
            raise error
        return result

    def _make_thunk(self, types: Sequence[Any]) -> Any:
        """The C callable, seen with the types that os_win declared.

        Behind it strings are addresses: ctypes would make a str of them,
        and an output buffer would be lost.
        """
        text = [] if getattr(self._run, 'wants_addresses', False) else [
            index for index, kind in enumerate(types)
            if kind is ctypes.c_wchar_p]
        inner = [ctypes.c_void_p if kind is ctypes.c_wchar_p else kind
                 for kind in types]

        def guarded(*args: Any) -> Any:
            if not text:
                return self._guarded(args)
            values = list(args)
            for index in text:
                if values[index] is not None:
                    values[index] = ctypes.wstring_at(values[index])
            return self._guarded(values)

        entry = ctypes.CFUNCTYPE(self._restype, *inner)(guarded)
        self._entry = entry             # lives as long as what points at it
        # PYFUNCTYPE keeps the interpreter's lock on the way in: on Windows
        # a mutex is taken the moment a thread asks, while this way here
        # another thread could slip in between.
        return ctypes.cast(entry, ctypes.PYFUNCTYPE(self._restype, *types))

    def _guarded(self, args: Sequence[Any]) -> Any:
        # No exception can cross the C frame; this result is not looked
        # at when one is waiting.
        try:
            return self._run(*args)
        except WinError as error:
            return self._failed(self.__name__, error)
        except BaseException as error:
            _crossing.error = error
            return None if self._restype is None else 0


class Library:
    """A DLL: functions by name, made when first asked for.

    A function that the class does not implement can be registered; its
    call is answered by the fabric, which knows no such operation and says
    so (NotSimulated).

    :cvar dll_name: without ``.dll``.
    """

    dll_name = ''

    def __init__(self, port: Any) -> None:
        self._port = port
        self._functions: Dict[str, Function] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith('_') or not name[:1].isupper():
            raise AttributeError(name)
        function = self._functions.get(name)
        if function is None:
            run = getattr(type(self), 'do_' + name, None)
            function = self._functions[name] = Function(
                name, self._absent(name) if run is None
                else run.__get__(self), self._failed)
        return function

    def _absent(self, name: str) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            return self._port.call('dll.%s.%s' % (self.dll_name, name))
        return run

    def _failed(self, name: str, error: WinError) -> Any:
        """The result that stands for an error: here its code."""
        return error.winerror
