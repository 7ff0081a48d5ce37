# SPDX-License-Identifier: Apache-2.0
"""Classes, properties and methods of WMI as one version of Windows has them.

The data is Microsoft's published schema, made compact by
``tools/make-schema``.  All look-ups ignore case, as on Windows; names come
back in canonical spelling.
"""

from __future__ import annotations

import functools
import gzip
import json
import os
import typing

_DATA = os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), 'data', 'schema.json.gz')

Raw = typing.List[typing.Any]
Parameter = typing.Tuple[str, str, bool]        # name, type, is array


class PropDef:
    """A property.

    :ivar type: CIM type; 'reference', 'instance' and 'object' included.
    :ivar ref: class of a reference or embedded instance, or None.
    """

    __slots__ = ('name', 'type', 'array', 'ref')

    def __init__(self, name: str, type: str, array: bool,
                 ref: typing.Optional[str]) -> None:
        self.name = name
        self.type = type
        self.array = array
        self.ref = ref

    @property
    def embedded(self) -> bool:
        return self.type in ('instance', 'object')


class MethodDef:
    """A method: parameters in the order in which PyMI keeps them.

    PyMI holds parameters in a map sorted by name, case-sensitively;
    positional arguments bind in THAT order, and results come back in it.

    :ivar returns: False for a void method.
    """

    __slots__ = ('name', 'ins', 'outs', 'returns', 'static', 'in_names')

    def __init__(self, name: str, ins: typing.Iterable[Parameter],
                 outs: typing.Iterable[Parameter], returns: bool,
                 static: bool) -> None:
        self.name = name
        self.ins = sorted((p[0], p[1], bool(p[2])) for p in ins)
        self.outs = sorted((p[0], p[1], bool(p[2])) for p in outs)
        self.returns = returns
        self.static = static
        self.in_names = {p[0].lower(): p for p in self.ins}

    @property
    def results(self) -> list[str]:
        """Names of all results, in PyMI's order."""
        names = [p[0] for p in self.outs]
        return sorted(names + ['ReturnValue']) if self.returns else names


class ClassDef:
    """A class with everything that it inherits.

    :ivar supers: names of its superclasses, nearest first.
    :ivar subs: lower-case names of itself and all its subclasses.
    :ivar props: canonical name -> PropDef.
    :ivar methods: canonical name -> MethodDef.
    :ivar text_keys: whether all keys are strings.
    :ivar gated: names of properties other versions of Windows have.
    """

    def __init__(self, name: str, supers: typing.Sequence[str],
                 subs: typing.Iterable[str], keys: typing.Sequence[str],
                 props: typing.Dict[str, PropDef],
                 methods: typing.Dict[str, MethodDef],
                 flags: str = '') -> None:
        self.name = name
        self.low = name.lower()
        self.supers = tuple(supers)
        self.subs = tuple(subs)
        self.keys = tuple(keys)
        self.props = props
        self.methods = methods
        self.association = 'A' in flags
        self.abstract = 'X' in flags
        self.singleton = 'S' in flags
        self.gated: typing.FrozenSet[str] = frozenset()
        self.text_keys = all(
            key in props and props[key].type in ('string', 'reference')
            for key in self.keys)
        self.lineage = frozenset(
            [self.low] + [one.lower() for one in supers])
        self.embedded = tuple(
            one.name for one in props.values() if one.embedded)
        self.references = tuple(
            one.name for one in props.values() if one.type == 'reference')
        self._props = {key.lower(): one for key, one in props.items()}
        self._methods = {key.lower(): one for key, one in methods.items()}

    def prop(self, name: str) -> typing.Optional[PropDef]:
        return self.props.get(name) or self._props.get(name.lower())

    def method(self, name: str) -> typing.Optional[MethodDef]:
        return self.methods.get(name) or self._methods.get(name.lower())

    def is_a(self, name: str) -> bool:
        return name.lower() in self.lineage

    def wire(self) -> typing.Dict[str, typing.Any]:
        """This class for the other side of the port (JSON)."""
        return {
            'name': self.name, 'supers': list(self.supers),
            'keys': list(self.keys),
            'props': [[one.name, one.type, one.array, one.ref]
                      for one in self.props.values()],
            'methods': [[one.name, one.ins, one.outs, one.returns,
                         one.static] for one in self.methods.values()]}


def from_wire(data: typing.Dict[str, typing.Any]) -> ClassDef:
    """The class that :meth:`ClassDef.wire` described."""
    return ClassDef(
        data['name'], data['supers'], (), data['keys'],
        {row[0]: PropDef(*row) for row in data['props']},
        {row[0]: MethodDef(*row) for row in data['methods']})


@functools.lru_cache(maxsize=None)
def _load() -> typing.Dict[str, typing.Dict[str, Raw]]:
    with gzip.open(_DATA, 'rt', encoding='utf-8') as stream:
        data = json.load(stream)
    namespaces: typing.Dict[str, typing.Dict[str, Raw]] = data['namespaces']
    return namespaces


def _there(gate: typing.Any, build: int) -> bool:
    return not gate or (gate[0] <= build and
                        (not gate[1] or build <= gate[1]))


def _parameters(rows: Raw, build: int) -> typing.List[Parameter]:
    return [(row[0], row[1], bool(row[2])) for row in rows
            if _there(row[3], build)]


class Namespace:
    """The classes of one namespace in one build of Windows."""

    def __init__(self, name: str, raw: typing.Dict[str, Raw],
                 build: int) -> None:
        self.name = name
        self._build = build
        # A class may be there while its superclass came later: members
        # are inherited through it all the same.
        self._raw = {key.lower(): (key, row) for key, row in raw.items()}
        self._there = frozenset(
            low for low, (_key, row) in self._raw.items()
            if _there(row[3], build))
        self._classes: typing.Dict[str, ClassDef] = {}
        self._subs: typing.Dict[str, typing.List[str]] = {}
        for low in self._raw:
            for one in self._line(low) if low in self._there else ():
                self._subs.setdefault(one, []).append(low)

    def _line(self, low: str) -> typing.List[str]:
        """Lower-case names of a class and its superclasses."""
        line = []
        while low in self._raw:
            line.append(low)
            low = (self._raw[low][1][0] or '').lower()
        return line

    def names(self) -> typing.List[str]:
        """Canonical names of all classes."""
        return [self._raw[low][0] for low in self._raw
                if low in self._there]

    def find(self, name: str) -> typing.Optional[ClassDef]:
        """The class *name*, or None."""
        low = name.lower()
        found = self._classes.get(low)
        if found is None and low in self._there:
            found = self._classes[low] = self._build_class(low)
        return found

    def _build_class(self, low: str) -> ClassDef:
        name, row = self._raw[low]
        line = self._line(low)
        props: typing.Dict[str, PropDef] = {}
        methods: typing.Dict[str, MethodDef] = {}
        every: typing.Set[str] = set()
        for one in reversed(line):
            _name, (_super, _flags, _keys, _gate, own, own_methods) = (
                self._raw[one])
            every.update(item[0] for item in own)
            for item in own:
                props.pop(item[0], None)
                if _there(item[4], self._build):
                    props[item[0]] = PropDef(
                        item[0], item[1], bool(item[2]), item[3] or None)
            for item in own_methods:
                methods.pop(item[0], None)
                if _there(item[5], self._build):
                    methods[item[0]] = MethodDef(
                        item[0], _parameters(item[1], self._build),
                        _parameters(item[2], self._build),
                        item[3] != 'void', bool(item[4]))
        found = ClassDef(
            name, [self._raw[one][0] for one in line[1:]], self._subs[low],
            row[2], props, methods, row[1])
        found.gated = frozenset(every - set(props))
        return found


@functools.lru_cache(maxsize=None)
def namespaces(build: int) -> typing.Dict[str, Namespace]:
    """Lower-case name -> namespace, for Windows of that build number.

    System classes (``__Provider``, events) are in each of them.
    """
    raw = _load()
    return {name.lower(): Namespace(name, {**raw['*'], **classes}, build)
            for name, classes in raw.items() if name != '*'}
