# SPDX-License-Identifier: Apache-2.0
"""Instances and bound methods of the ``wmi`` stand-in.

Conversions, positional binding and the order of results are PyMI's
(oswin-surface.md, sections 2.4 and 2.6).
"""

from __future__ import annotations

import types
import typing

from .. import errors
from . import cimxml
from ..errors import fail
from . import objectpath
from . import schema
from . import values

if typing.TYPE_CHECKING:
    from .face import Connection

Wire = typing.Dict[str, typing.Any]


class Method:
    """A method bound to an instance or, static, to a class."""

    def __init__(self, conn: Connection, cls: schema.ClassDef,
                 path: typing.Optional[str],
                 method: schema.MethodDef) -> None:
        self._conn = conn
        self._cls = cls
        self._path = path
        self._method = method

    def __call__(self, *args: typing.Any, **kwargs: typing.Any
                 ) -> typing.Tuple[typing.Any, ...]:
        kwargs.pop('operation_options', None)
        method = self._method
        if len(args) > len(method.ins):
            raise TypeError(f'{method.name} takes {len(method.ins)} '
                            f'arguments, got {len(args)}')
        given = {row[0]: (row, value)
                 for row, value in zip(method.ins, args)}
        for name, value in kwargs.items():
            found = method.in_names.get(name.lower())
            if found is None:
                fail(errors.WBEM_E_INVALID_PARAMETER,
                     f'{method.name} has no parameter {name}')
            given[found[0]] = found, value
        out = self._conn._do(
            'wmi.invoke', cls=self._cls.name, path=self._path,
            method=method.name, args={
                name: self._outbound(row, value)
                for name, (row, value) in given.items()
                if value is not None})
        kinds = {row[0]: row for row in method.outs}
        return tuple(self._inbound(kinds.get(name), out.get(name))
                     for name in method.results)

    def _outbound(self, row: schema.Parameter, value: typing.Any
                  ) -> typing.Any:
        name, kind, array = row
        if not array:
            return self._one(name, kind, value)
        if not isinstance(value, (list, tuple)):
            fail(errors.WBEM_E_TYPE_MISMATCH, f'{name} is an array')
        return [self._one(name, kind, one) for one in value]

    def _one(self, name: str, kind: str, value: typing.Any) -> typing.Any:
        if kind.startswith('ref:'):
            # PyMI looks the object up before the call.
            if not isinstance(value, Instance):
                value = self._conn._resolve(str(value))
            return value.path_()
        if kind.startswith(('instance', 'object')):
            if not isinstance(value, Instance):
                fail(errors.WBEM_E_TYPE_MISMATCH, f'{name}: no instance')
            return value.wire()
        return _converted(name, kind, False, value)

    def _inbound(self, row: typing.Optional[schema.Parameter],
                 value: typing.Any) -> typing.Any:
        if isinstance(value, list):
            value = tuple(self._inbound(row, one) for one in value)
        elif isinstance(value, dict):
            value = self._conn._instance(value)
        elif row is not None and row[1] == 'datetime' and value:
            value = values.python_datetime(value)
        return value


def _converted(name: str, kind: str, array: bool, value: typing.Any
               ) -> typing.Any:
    """*value* in kept form by PyMI's rules of conversion."""
    if kind == 'datetime' and value is not None:
        raise TypeError(f'{name}: a date cannot be written')
    items = value if isinstance(value, (list, tuple)) else (value,)
    if 'int' in kind and any(isinstance(one, bool) for one in items):
        fail(errors.WBEM_E_TYPE_MISMATCH, f'{name}: boolean for integer')
    return values.convert(kind, array, value)


class Instance:
    """An instance: what it was when it was read, plus local changes."""

    __slots__ = ('_conn', '_cls', '_path', '_props', '_projected', '_local',
                 'previous')
    _conn: Connection
    _cls: schema.ClassDef
    _path: str
    _props: Wire
    _projected: bool
    _local: Wire
    previous: typing.Optional['Instance']

    def __init__(self, conn: Connection, cls: schema.ClassDef, path: str,
                 props: Wire, projected: bool = False) -> None:
        for name, value in zip(self.__slots__, (
                conn, cls, path, props, projected, {}, None)):
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> typing.Any:
        prop = self._cls.prop(name)
        if prop is not None:
            if prop.name in self._local:
                return self._read(prop, self._local[prop.name])
            if prop.name in self._props or not self._projected:
                return self._read(prop, self._props.get(prop.name))
        method = self._cls.method(name)
        if method is None:
            raise AttributeError(name)
        return Method(self._conn, self._cls, self.path_(), method)

    def _read(self, prop: schema.PropDef, value: typing.Any) -> typing.Any:
        if value is None:
            return None
        if prop.array and not isinstance(value, str):
            return tuple(self._read_one(prop, one) for one in value)
        return self._read_one(prop, value)

    def _read_one(self, prop: schema.PropDef, value: typing.Any
                  ) -> typing.Any:
        if prop.type == 'reference':
            return self._conn._client.connect(objectpath.full(
                value, self._path))
        if prop.type == 'datetime':
            return values.python_datetime(value)
        if isinstance(value, dict):
            return self._conn._instance(value)
        return value

    def __setattr__(self, name: str, value: typing.Any) -> None:
        prop = self._cls.prop(name)
        if prop is None:
            fail(errors.WBEM_E_NOT_FOUND, f'{self._cls.name} has no {name}')
        if prop.type == 'reference' and value is not None:
            value = self._conn._resolve(str(value)).path_()
        self._local[prop.name] = _converted(
            prop.name, prop.type, prop.array, value)

    def _merged(self) -> Wire:
        return {**self._props, **self._local}

    def wire(self) -> Wire:
        """Itself with its local changes, for the port."""
        props = self._merged()
        for name in self._cls.embedded:
            value = props.get(name)
            if isinstance(value, tuple):
                props[name] = [_wire(one) for one in value]
            elif value is not None:
                props[name] = _wire(value)
        return {'class': self._cls.name, 'path': self._path, 'props': props}

    def text(self) -> str:
        props = self._merged()
        for name in self._cls.embedded:
            prop = self._cls.props[name]
            props[name] = self._read(prop, props.get(name))
        return cimxml.dump(self._cls, props)

    def GetText_(self, text_format: int = 0) -> str:    # noqa: N802
        """The instance as text; the format asked for is ignored."""
        return self.text()

    def path_(self) -> str:
        """The object path, '' before it exists."""
        if self._path or not self._props:
            return self._path
        if not self._cls.keys:
            fail(errors.WBEM_E_NOT_FOUND, f'{self._cls.name} has no keys')
        return ''

    def path(self) -> types.SimpleNamespace:
        """The object path in parts."""
        path = self.path_()
        parsed = objectpath.parse(path)
        return types.SimpleNamespace(
            Path=path, RelPath=path.partition(':')[2],
            Class=self._cls.name,
            Namespace=parsed.namespace.replace('/', '\\') if parsed else '',
            Server=parsed.host if parsed else '')

    def put(self) -> None:
        """Create it if it has no path yet, else write the changes."""
        props = self.wire()['props']
        if self._path:
            props = {name: props[name] for name in self._local}
        wire = self._conn._do('wmi.put', cls=self._cls.name,
                              path=self._path, props=props)
        object.__setattr__(self, '_path', wire['path'])
        object.__setattr__(self, '_props', wire['props'])
        self._local.clear()

    def Delete_(self) -> None:      # noqa: N802 - PyMI's name
        """Delete it."""
        self._conn._do('wmi.delete', cls=self._cls.name, path=self.path_())

    def set(self, **changes: typing.Any) -> None:
        """Set several properties, locally."""
        for name, value in changes.items():
            setattr(self, name, value)

    def associators(self, wmi_association_class: str = '',
                    wmi_result_class: str = ''
                    ) -> typing.List['Instance']:
        """What is associated with it."""
        return self._conn.get_associators(
            self, wmi_association_class, wmi_result_class)


def _wire(value: typing.Any) -> typing.Any:
    return value.wire() if isinstance(value, Instance) else value
