# SPDX-License-Identifier: Apache-2.0
"""One native thread that watches many descriptors.

Serial ports of a thousand machines need neither a thousand threads nor
the green ``select`` of eventlet.
"""

import socket
from typing import Any
from typing import Callable
from typing import Dict
from typing import Optional
from typing import Tuple

from . import native

_select: Any = native.original('select')

Callback = Callable[[], None]


class Poller:
    """Calls back when descriptors can be read or written.

    Callbacks run in the poller's thread, one after the other, and must
    not block.  The thread starts with the first descriptor and ends with
    the last.
    """

    def __init__(self) -> None:
        self._lock = native.RLock()
        self._watched: Dict[int, Tuple[Optional[Callback],
                                       Optional[Callback]]] = {}
        self._epoll: Any = None
        self._thread: Optional[native.Thread] = None
        self._wake: Tuple[Any, Any] = (None, None)

    def watch(self, descriptor: int, readable: Optional[Callback] = None,
              writable: Optional[Callback] = None) -> None:
        """Set what is called for a descriptor; nothing stops watching."""
        with self._lock:
            if readable is None and writable is None:
                self.forget(descriptor)
                return
            if self._thread is None:
                self._start()
            events = (_select.EPOLLIN if readable else 0) | (
                _select.EPOLLOUT if writable else 0)
            known = descriptor in self._watched
            self._watched[descriptor] = (readable, writable)
            if known:
                self._epoll.modify(descriptor, events)
            else:
                self._epoll.register(descriptor, events)

    def forget(self, descriptor: int) -> None:
        """Stop watching; to be called before the descriptor is closed."""
        with self._lock:
            if self._watched.pop(descriptor, None) is None:
                return
            self._epoll.unregister(descriptor)
            if not self._watched:
                # Nobody waits for it: the caller may hold what a callback
                # needs.
                self._wake[1].send(b'x')
                self._thread = None

    def _start(self) -> None:
        epoll, wake = _select.epoll(), native.socketpair()
        self._epoll, self._wake = epoll, wake
        epoll.register(wake[0].fileno(), _select.EPOLLIN)
        self._thread = native.Thread(self._run, epoll, wake).start()

    def _run(self, epoll: Any, wake: Tuple[Any, Any]) -> None:
        while True:
            for descriptor, events in epoll.poll():
                if descriptor == wake[0].fileno():
                    epoll.close()
                    for end in wake:
                        end.close()
                    return
                self._dispatch(descriptor, events)

    def _dispatch(self, descriptor: int, events: int) -> None:
        with self._lock:
            readable, writable = self._watched.get(descriptor, (None, None))
        broken = events & (_select.EPOLLHUP | _select.EPOLLERR)
        if readable is not None and (events & _select.EPOLLIN or broken):
            readable()
        elif writable is not None and (events & _select.EPOLLOUT or broken):
            writable()


def unix_socket() -> Any:
    """A native stream socket of the Unix family."""
    return native.socket(socket.AF_UNIX, socket.SOCK_STREAM)
