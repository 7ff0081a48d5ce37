# SPDX-License-Identifier: Apache-2.0
"""The one cut between the stand-ins and the simulated host.

Whatever the ``wmi`` stand-in, the DLLs and the file functions want of a
host goes through ``port.call(op, **arguments)``; arguments and results are
what JSON can carry, because the port may be in another process.  Calls are
recorded, delayed and broken here and nowhere else.
"""

from __future__ import annotations

import importlib
import typing

from . import errors
from . import faults
from . import native

if typing.TYPE_CHECKING:
    from . import host as host_module

Args = typing.Dict[str, typing.Any]
Label = typing.Callable[[Args], str]
Kind = typing.Union[None, str, typing.Callable[[Args], str]]
H = typing.TypeVar('H', bound=typing.Callable[..., typing.Any])

#: Modules of this package whose import registers operations.
HANDLERS = ('wmi.ops', 'file_ops', 'copy_ops', 'acls', 'disk_ops', 'pipe_ops',
            'iscsi_ops', 'fc_ops', 'net_ops', 'rbdclient',
            'san_admin', 'guest_admin')


class Port(typing.Protocol):
    """What the client side needs of a host.

    :ivar client: which process it is, as the owner of handles; '' when
        the host is in the same process.
    :ivar slow: whether a call may take long, so that in a process of
        green threads it should be made in a native one.
    """

    @property
    def name(self) -> str:
        """The host's name."""

    @property
    def client(self) -> str:
        """Which process this is."""

    @property
    def slow(self) -> bool:
        """Whether calls may take long."""

    @property
    def hurried(self) -> bool:
        """Whether sleeps inside os-win shall be short."""

    @property
    def alive(self) -> bool:
        """Whether the process that uses it is."""

    def call(self, op: str, **args: typing.Any) -> typing.Any:
        """Have the host do *op*."""

    def release(self, watch_id: int) -> None:
        """Cancel a subscription soon; safe in a finaliser: no lock."""


class Op(typing.NamedTuple):
    name: str
    handler: typing.Callable[..., typing.Any]
    kind: Kind
    label: Label
    blocking: bool

    def kind_of(self, args: Args) -> typing.Optional[str]:
        return self.kind(args) if callable(self.kind) else self.kind


_ops: typing.Dict[str, Op] = {}


def _default_label(name: str) -> Label:
    text = name.partition('.')[2]

    def label(args: Args) -> str:
        path = args.get('path')
        return f'{text} {path}' if isinstance(path, str) else text
    return label


def op(name: str, kind: Kind = '', label: typing.Optional[Label] = None,
       blocking: bool = False) -> typing.Callable[[H], H]:
    """Register ``f(host, **args)`` as operation *name*.

    :param kind: what the recorder counts it as: 'query', 'method', 'get',
        'ref', 'dll', 'file'; '' takes the first part of the name, None
        means that Windows would not be asked.  A function of the
        arguments may decide.
    :param label: arguments -> what the trace shows and fault patterns
        match; by default the name without its first part, and the
        argument ``path``.
    :param blocking: it may wait for something to happen.
    """
    def register(function: H) -> H:
        _ops[name] = Op(name, function,
                        name.partition('.')[0] if kind == '' else kind,
                        label or _default_label(name), blocking)
        return function
    return register


def load_handlers() -> None:
    """Import everything that registers operations."""
    for name in HANDLERS:
        importlib.import_module('.' + name, __package__)


def find(name: str) -> Op:
    """The operation *name*.

    :raises NotSimulated: there is none.
    """
    found = _ops.get(name)
    if found is None:
        raise errors.NotSimulated(f'operation {name}')
    return found


def is_blocking(name: str) -> bool:
    found = _ops.get(name)
    return found is not None and found.blocking


class LocalPort:
    """The port of a host in this process."""

    alive = True

    def __init__(self, host: 'host_module.Host') -> None:
        self.host = host
        self.name = host.name
        self.client = ''

    @property
    def slow(self) -> bool:
        return self.host.fabric.faults.delays

    @property
    def hurried(self) -> bool:
        return self.host.clock.mode != 'real'

    def call(self, op: str, **args: typing.Any) -> typing.Any:
        """Do *op* here and now.

        :raises x_wmi, Win32Error: as Windows would refuse it.
        :raises NotSimulated: the simulator cannot do it.
        """
        try:
            return perform(self.host, op, args)
        except faults.Kill:
            native.kill_this_process()

    def release(self, watch_id: int) -> None:
        self.host.released.append(watch_id)


def perform(host: 'host_module.Host', name: str, args: Args) -> typing.Any:
    """Record, delay, break or do one operation.

    :raises Kill: the fault plan wants the caller's process dead.
    """
    fabric = host.fabric
    try:
        found = find(name)
        kind = found.kind_of(args)
        if kind is not None:
            host.check_power()
            label = found.label(args)
            fabric.recorder.note(host.name, kind, label)
            if fabric.faults.active:
                forced = fabric.faults.meet(host.name, kind, label,
                                            fabric.clock.sleep)
                if forced is not None:
                    return forced.result(found, host, args)
        return found.handler(host, **args)
    except (errors.NotSimulated, errors.SchemaError) as exc:
        fabric.note_not_simulated(exc)
        raise
