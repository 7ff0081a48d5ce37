# SPDX-License-Identifier: Apache-2.0
"""Objects of the WMI repository, and instances without identity."""

from __future__ import annotations

import typing

from . import cimxml
from .schema import ClassDef

if typing.TYPE_CHECKING:
    from .engine import Store

Props = typing.Dict[str, typing.Any]


def _value(cls: ClassDef, props: Props, name: str) -> typing.Any:
    """A property; None when null, also where this version has it not.

    :raises KeyError: no version of Windows has such a property.
    """
    try:
        return props[name]
    except KeyError:
        if name in cls.props or name in cls.gated:
            return None
        raise


class Embedded:
    """An instance without identity: in or out of methods, or in text.

    :ivar cls: ClassDef; ``props``: canonical name -> kept value.
    """

    __slots__ = ('cls', 'props')

    def __init__(self, cls: ClassDef, props: Props) -> None:
        self.cls = cls
        self.props = props

    def __getitem__(self, name: str) -> typing.Any:
        return _value(self.cls, self.props, name)

    def get(self, name: str, default: typing.Any = None) -> typing.Any:
        return self.props.get(name, default)

    def wire(self) -> Props:
        """Itself for the other side of the port."""
        return wire(self.cls, '', self.props)

    def text(self) -> str:
        """What ``GetText_`` gives: CIM-XML."""
        return cimxml.dump(self.cls, self.props)


class Record:
    """An object of the repository.

    :ivar path: canonical object path; '' for a class without keys.
    :ivar serial: order of creation.
    """

    __slots__ = ('store', 'cls', 'props', 'path', 'serial')

    def __init__(self, store: 'Store', cls: ClassDef, props: Props,
                 path: str, serial: int) -> None:
        self.store = store
        self.cls = cls
        self.props = props
        self.path = path
        self.serial = serial

    def __getitem__(self, name: str) -> typing.Any:
        return _value(self.cls, self.props, name)

    def get(self, name: str, default: typing.Any = None) -> typing.Any:
        return self.props.get(name, default)

    def __repr__(self) -> str:
        return f'<Record {self.path or self.cls.name}>'

    def view(self, wanted: typing.Optional[typing.AbstractSet[str]] = None
             ) -> Props:
        """Its properties with the computed ones among *wanted*."""
        functions = self.store.computed(self.cls)
        if not functions:
            return self.props
        view = dict(self.props)
        for names, function in functions:
            if wanted is None or names & wanted:
                view.update(self.store.convert(
                    self.cls, function(self.store.host, self)))
        return view

    def wire(self) -> Props:
        """Itself, with its identity, for the other side of the port."""
        return wire(self.cls, self.path, self.view())

    def text(self) -> str:
        """What ``GetText_`` gives: CIM-XML."""
        return cimxml.dump(self.cls, self.view())


def wire(cls: ClassDef, path: str, props: Props) -> Props:
    """An instance in the form that crosses the port."""
    if cls.embedded:
        props = dict(props)
        for name in cls.embedded:
            value = props.get(name)
            if isinstance(value, tuple):
                props[name] = [one.wire() for one in value]
            elif value is not None:
                props[name] = value.wire()
    return {'class': cls.name, 'path': path, 'props': props}
