# SPDX-License-Identifier: Apache-2.0
"""A program on a simulated host that can be killed without its Python.

Programs of several hosts run in one process of Python when tests want it.
One of them dies all the same as Windows ends a process: what it asks of its
host from then on is not done, and raises :class:`Vanished`, so that no
``except``, ``finally`` or rollback of it can act on the host. The system
closes what it had open: files, handles of disks, ends of pipes,
subscriptions. Jobs in the host's management service go on.
"""

from __future__ import annotations

import itertools
import sys
import typing

from . import current
from . import faults
from . import native
from . import ports

if typing.TYPE_CHECKING:
    from . import host as host_module

_numbers = itertools.count(1)


class Vanished(BaseException):
    """The program that runs this code was killed: the code does not run."""

    @staticmethod
    def is_being_handled() -> bool:
        """Whether the caller is code that a killed program never ran.

        That is so below any ``except`` or ``finally`` that a Vanished went
        through.
        """
        found = sys.exc_info()[1]
        while found is not None:
            if isinstance(found, Vanished):
                return True
            found = found.__context__
        return False


def vanish() -> typing.NoReturn:
    """Leave the code of a killed program."""
    eventlet = sys.modules.get('eventlet')
    if eventlet is None or not hasattr(eventlet, 'Timeout'):
        raise Vanished
    # Of all that is no Exception, eventlet's native threads give only its
    # Timeout back to the green thread that waits for them; what else comes
    # ends them, and the green thread waits for ever.
    raise type('Vanished', (Vanished, eventlet.Timeout), {})()


class Process:
    """A program on *host*; build drivers inside ``with process.on()``.

    :ivar name: of the host.
    :ivar port: its way to the host, which ends with it.
    """

    def __init__(self, host: 'host_module.Host') -> None:
        self.host = host
        self.name = host.name
        self.alive = True
        self._watches: typing.Set[int] = set()
        self._lock = native.Lock()
        self.port = ProcessPort(self, f'{host.name}-{next(_numbers)}')

    def on(self) -> typing.ContextManager[typing.Any]:
        """Make this what drivers built in the block run in."""
        return current.on_host(self)

    def kill(self) -> None:
        """End it, without a word; idempotent."""
        with self._lock:
            self.alive = False
            watches, self._watches = self._watches, set()
        self.host.client_gone(self.port.client, watches)

    def follow(self, op: str, args: ports.Args, result: typing.Any) -> None:
        """Remember which subscriptions there are."""
        with self._lock:
            if op == 'wmi.watch':
                self._watches.add(result)
            elif op == 'wmi.unwatch':
                self._watches.discard(args['watch_id'])


class ProcessPort(ports.LocalPort):
    """What a :class:`Process` has of its host."""

    def __init__(self, process: Process, client: str) -> None:
        super().__init__(process.host)
        self._process = process
        self.client = client

    @property
    def alive(self) -> bool:        # type: ignore[override]
        return self._process.alive

    def call(self, op: str, **args: typing.Any) -> typing.Any:
        """See :meth:`ports.LocalPort.call`.

        :raises Vanished: the process was killed, perhaps by this call.
        """
        if not self.alive:
            vanish()
        try:
            result = ports.perform(self.host, op, args)
        except faults.Kill:
            self._process.kill()
            vanish()
        except Exception:
            if not self.alive:
                vanish()
            raise
        self._process.follow(op, args, result)
        if not self.alive:
            # Killed meanwhile, by another thread: what this opened goes too.
            self._process.kill()
            vanish()
        return result
