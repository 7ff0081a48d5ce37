# SPDX-License-Identifier: Apache-2.0
"""The ``wmi`` module as PyMI 1.0.9 gives it, over a host's port.

Rules are those of oswin-surface.md, section 2: positional arguments bind
in the sorted order of names, results are sorted too, reference properties
are followed when read, arrays are tuples, what goes wrong is x_wmi.
"""

from __future__ import annotations

import re
import types
import typing

from .. import errors
from .. import green
from ..errors import fail
from ..errors import x_wmi
from ..errors import x_wmi_timed_out
from . import objectpath
from . import schema
from .instance import Instance
from .instance import Method

if typing.TYPE_CHECKING:
    from .. import ports

Wire = typing.Dict[str, typing.Any]
_MONIKER = re.compile(
    r'^(?:winmgmts:)?(?://(?P<host>[^/]+)/)?(?P<ns>[^:]+)'
    r'(?::(?P<cls>\w+)(?:\.(?P<keys>.*))?)?$', re.S | re.I)


class Client:
    """One process' use of one host: the port and the classes seen."""

    def __init__(self, port: 'ports.Port') -> None:
        self.port = port
        self._classes: typing.Dict[typing.Tuple[str, str, str],
                                   schema.ClassDef] = {}

    def call(self, op: str, **args: typing.Any) -> typing.Any:
        if self.port.slow:
            return green.offload(self.port.call, op, **args)
        return self.port.call(op, **args)

    def cls(self, on: str, ns: str, name: str) -> schema.ClassDef:
        key = on.lower(), ns.lower(), name.lower()
        found = self._classes.get(key)
        if found is None:
            found = self._classes[key] = schema.from_wire(
                self.call('wmi.class', on=on, ns=ns, cls=name))
        return found

    def connect(self, moniker: str = 'root/cimv2',
                privileges: object = None, locale_name: object = None,
                computer: str = '', **credentials: object
                ) -> typing.Union['Connection', Instance]:
        """``wmi.WMI``: a connection, or the instance of a full path.

        :raises x_wmi: no such namespace, host or instance.
        """
        match = _MONIKER.match(moniker.replace('\\', '/'))
        if match is None:
            fail(errors.WBEM_E_INVALID_PARAMETER, f'Bad moniker {moniker}')
        on = match.group('host') or computer or '.'
        if match.group('cls') is None:
            ns = self.call('wmi.connect', on=on, ns=match.group('ns'))
            return Connection(self, on, ns)
        return Connection(self, on, match.group('ns')).get_instance(
            match.group('cls'), _moniker_keys(match.group('keys')))


def _moniker_keys(text: typing.Optional[str]) -> typing.Dict[str, str]:
    """Keys as naively as PyMI reads them from a moniker.

    They are split at every comma; a value loses its quotes, and ``//``,
    that is an escaped backslash, becomes one backslash.
    """
    if text is None:
        raise AttributeError("'NoneType' object has no attribute 'items'")
    keys = {}
    for part in text.split(','):
        name, _, value = part.partition('=')
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1]
        keys[name.strip()] = value.replace('//', '\\').replace('\\"', '"')
    return keys


class Connection:
    """A namespace of a host."""

    def __init__(self, client: Client, on: str, ns: str) -> None:
        self._client = client
        self._on = on
        self._ns = ns
        self._faces: typing.Dict[str, 'Class'] = {}

    def __getattr__(self, name: str) -> 'Class':
        if name.startswith('__') and name != '__Provider':
            raise AttributeError(name)
        return self._face(name)

    def _face(self, name: str) -> 'Class':
        found = self._faces.get(name.lower())
        if found is None:
            found = self._faces[name.lower()] = Class(
                self, self._client.cls(self._on, self._ns, name))
        return found

    def _do(self, op: str, **args: typing.Any) -> typing.Any:
        return self._client.call(op, on=self._on, ns=self._ns, **args)

    def _instance(self, wire: Wire) -> Instance:
        return Instance(self, self._client.cls(
            self._on, self._ns, wire['class']), wire['path'],
            wire['props'], wire.get('projected', False))

    def query(self, wql: str) -> typing.List[Instance]:
        """The instances that a WQL query selects."""
        # PyMI doubles every backslash; the provider takes that back.
        return [self._instance(one) for one in self._do(
            'wmi.query', wql=wql.replace('\\', '\\\\'))]

    def get_instance(self, class_name: str,
                     key: typing.Mapping[str, typing.Any],
                     why: str = 'get') -> Instance:
        """One instance by its keys; x_wmi 'not found' without it."""
        return self._instance(self._do(
            'wmi.get', cls=class_name, keys=dict(key), why=why))

    def get_associators(self, instance: Instance,
                        wmi_association_class: str = '',
                        wmi_result_class: str = ''
                        ) -> typing.List[Instance]:
        """What is associated with *instance*."""
        return [self._instance(one) for one in self._do(
            'wmi.associators', path=instance.path_(),
            association=wmi_association_class, result=wmi_result_class)]

    def watch_for(self, raw_wql: str = '', notification_type: str = '',
                  wmi_class: str = '', delay_secs: int = 1,
                  fields: typing.Sequence[str] = (),
                  **where: typing.Any) -> 'Watcher':
        """Subscribe to events; only *raw_wql* matters, as in PyMI."""
        number = self._do('wmi.watch', wql=raw_wql.replace('\\', '\\\\'))
        return Watcher(self, number)

    def _resolve(self, path: str) -> Instance:
        """The instance at *path*, looked up as a reference parameter."""
        parsed = objectpath.parse(path)
        if parsed is None:
            fail(errors.WBEM_E_INVALID_OBJECT_PATH, f'Bad path {path}')
        conn = self
        if parsed.namespace:
            conn = Connection(self._client, parsed.host, parsed.namespace)
        return conn.get_instance(parsed.cls, parsed.keys, 'ref')


class Watcher:
    """A subscription; calling it waits for the next event."""

    def __init__(self, conn: Connection, number: int) -> None:
        self._conn = conn
        self._number = number

    def __call__(self, timeout_ms: int = -1) -> Instance:
        """The TargetInstance of the next event.

        :raises x_wmi_timed_out: none within *timeout_ms*.
        """
        client = self._conn._client
        answer = green.offload(
            client.port.call, 'wmi.next_event', watch_id=self._number,
            timeout_ms=max(timeout_ms, 0))
        if answer.get('ended') is not None:
            if answer['ended']:
                green.stop_loop()
            raise x_wmi('No more events')
        wire = answer['event']
        if wire is None:
            raise errors.wmi_error(errors.WBEM_E_TIMED_OUT)
        event = self._conn._instance(wire)
        if wire['previous'] is not None:
            object.__setattr__(event, 'previous',
                               self._conn._instance(wire['previous']))
        return event

    def __del__(self) -> None:
        self._conn._client.port.release(self._number)

    def close(self) -> None:
        """Cancel the subscription."""
        self._conn._client.call('wmi.unwatch', watch_id=self._number)


class Class:
    """A class: query it, create from it, watch it, call its methods."""

    def __init__(self, conn: Connection, cls: schema.ClassDef) -> None:
        self._conn = conn
        self._cls = cls

    def __call__(self, *args: typing.Any, **where: typing.Any
                 ) -> typing.List[Instance]:
        if len(args) > 1 or (args and not isinstance(args[0], list)):
            raise ValueError('at most one positional argument, a list')
        fields = ', '.join(args[0]) if args and args[0] else '*'
        wql = f'select {fields} from {self._cls.name}'
        if where:
            # PyMI quotes every value and escapes none.
            wql += ' where ' + ' and '.join(
                f"{name} = '{value}'" for name, value in where.items())
        return self._conn.query(wql)

    def __getattr__(self, name: str) -> typing.Any:
        method = self._cls.method(name)
        if method is None or name.startswith('__'):
            raise AttributeError(name)
        return Method(self._conn, self._cls, None, method)

    def new(self) -> Instance:
        """An instance that does not exist yet."""
        return Instance(self._conn, self._cls, '', {})

    def watch_for(self, raw_wql: str = '', *args: typing.Any,
                  **kwargs: typing.Any) -> Watcher:
        return self._conn.watch_for(raw_wql)

    def path(self) -> types.SimpleNamespace:
        on = self._conn._on
        ns = self._conn._ns.replace('/', '\\')
        return types.SimpleNamespace(
            Path=f'\\\\{on}\\{ns}:{self._cls.name}', RelPath=self._cls.name,
            Class=self._cls.name, Namespace=ns, Server=on)


def module(port: 'ports.Port') -> types.ModuleType:
    """The stand-in for ``import wmi`` on a host."""
    found = types.ModuleType('wmi', __doc__)
    found.__dict__.update(
        x_wmi=x_wmi, x_wmi_timed_out=x_wmi_timed_out,
        WMI=Client(port).connect)
    return found
