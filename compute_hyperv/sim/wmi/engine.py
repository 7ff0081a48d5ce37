# SPDX-License-Identifier: Apache-2.0
"""The WMI repository of a simulated host: records checked by the schema.

A record's properties are replaced, never changed in place: whoever got
them holds a snapshot, as PyMI's instances are.
"""

from __future__ import annotations

import itertools
import typing

from .. import errors
from . import cimxml
from ..errors import fail
from ..errors import NotSimulated
from ..errors import x_wmi
from . import index
from . import objectpath
from . import values
from . import watch
from .objects import Embedded
from .objects import Record
from .objects import wire
from .registry import Call
from .registry import computed
from .registry import find_computed
from .registry import live
from .registry import method
from .registry import on_delete
from .registry import on_put
from .schema import ClassDef
from .schema import Namespace

if typing.TYPE_CHECKING:
    from .. import host as host_module

__all__ = ('Call', 'Embedded', 'NotSimulated', 'Record', 'Store',
           'computed', 'fail', 'live', 'method', 'on_delete', 'on_put',
           'wire', 'x_wmi')

Props = typing.Dict[str, typing.Any]


class Store:
    """One namespace of one host.

    :param absent: lower-case beginnings of the names of classes that come
        with a feature which is not installed.

    Every method may be called from any thread; the fabric's lock is taken
    where more than one thing changes.
    """

    def __init__(self, host: 'host_module.Host', classes: Namespace,
                 every: Namespace,
                 absent: typing.Tuple[str, ...] = ()) -> None:
        self.host = host
        self.namespace = classes.name
        self.low = classes.name.lower()
        self.classes = classes
        self._absent = absent
        self._every = every     # classes of all versions of Windows
        self._lock = host.fabric.lock
        self._serials = itertools.count(1)
        self._tables: typing.Dict[str, typing.Dict[int, Record]] = {}
        self._paths: typing.Dict[str, Record] = {}
        self._index: index.Index = index.Index()
        self._computed: typing.Dict[str, typing.Tuple[
            typing.Any, ...]] = {}
        self._kinds: typing.Dict[str, typing.Tuple[
            typing.Tuple[str, str], ...]] = {}
        self.watches = watch.Watches(self)
        self.plans: typing.Dict[str, typing.Any] = {}   # compiled WQL

    # -- classes -----------------------------------------------------------

    def cls(self, name: str) -> ClassDef:
        """The class *name*.

        :raises x_wmi: invalid class.
        """
        found = self.classes.find(name)
        if found is None or found.low.startswith(self._absent):
            fail(errors.WBEM_E_INVALID_CLASS, f'Invalid class {name}')
        return found

    def computed(self, cls: ClassDef) -> typing.Tuple[typing.Any, ...]:
        found = self._computed.get(cls.low)
        if found is None:
            found = self._computed[cls.low] = find_computed(self.low, cls)
        return found

    def _indexed(self, cls: ClassDef
                 ) -> typing.Tuple[typing.Tuple[str, str], ...]:
        found = self._kinds.get(cls.low)
        if found is None:
            found = self._kinds[cls.low] = index.kinds(cls.props.values())
        return found

    def convert(self, cls: ClassDef, props: Props) -> Props:
        """Values in kept form, names in canonical spelling.

        Properties that only other versions of Windows have are dropped,
        so that a provider need not know when each of them came.

        :raises SchemaError: no version has such a property, or the value
            is of a wrong type.
        """
        kept = {}
        for name, value in props.items():
            prop = cls.prop(name)
            if prop is not None and type(value) is str and (
                    prop.type == 'string') and not prop.array:
                kept[prop.name] = value     # most are
                continue
            if prop is None:
                every = self._every.find(cls.name)
                if name in cls.gated or (every and every.prop(name)):
                    continue
                raise errors.SchemaError(f'{cls.name} has no {name}')
            try:
                kept[prop.name] = values.convert(
                    prop.type, prop.array, value)
            except (TypeError, ValueError) as exc:
                raise errors.SchemaError(
                    f'{cls.name}.{name} ({prop.type}): {exc}') from exc
        return kept

    def embedded(self, class_name: str, **props: typing.Any) -> Embedded:
        """A new instance without identity."""
        cls = self.cls(class_name)
        return Embedded(cls, self.convert(cls, props))

    def parse_text(self, text: str) -> Embedded:
        """The instance that ``GetText_`` wrote.

        :raises x_wmi: not such text, or not of this schema.
        """
        cls, props = cimxml.load(self.cls, text)
        return Embedded(cls, props)

    # -- changes -----------------------------------------------------------

    def add(self, class_name: str, **props: typing.Any) -> Record:
        """Create an object; watchers see its creation.

        :raises SchemaError: as :meth:`convert`; a key is missing or such
            an object is there already.
        """
        cls = self.cls(class_name)
        kept = self.convert(cls, props)
        path = self.path_of(cls, kept)
        with self._lock:
            if path.lower() in self._paths:
                raise errors.SchemaError(f'{path} is there already')
            rec = Record(self, cls, kept, path, next(self._serials))
            self._tables.setdefault(cls.low, {})[rec.serial] = rec
            if path:
                self._paths[path.lower()] = rec
            self._index.add(cls.low, rec.serial, rec,
                            index.terms(self._indexed(cls), kept))
            self.host.fabric.changes += 1
            self.watches.changed(rec, None, kept)
        return rec

    def path_of(self, cls: ClassDef, props: Props) -> str:
        """The canonical path of such an object; '' without keys."""
        if not cls.keys and not cls.singleton:
            return ''
        missing = [key for key in cls.keys if props.get(key) is None]
        if missing:
            raise errors.SchemaError(f'{cls.name} without key {missing}')
        return objectpath.absolute(
            self.host.name, self.namespace, objectpath.relative(
                cls.name, [(key, props[key]) for key in cls.keys]))

    def update(self, rec: Record, **changes: typing.Any) -> None:
        """Change properties; watchers see a modification."""
        kept = self.convert(rec.cls, changes)
        with self._lock:
            old, new = rec.props, {**rec.props, **kept}
            if old == new:
                return
            if any(old.get(key) != new.get(key) for key in rec.cls.keys):
                raise errors.SchemaError(f'{rec.path}: a key would change')
            before, after = (index.terms(self._indexed(rec.cls), props)
                             for props in (old, new))
            rec.props = new
            if before != after:
                self._index.discard(rec.cls.low, rec.serial, before)
                self._index.add(rec.cls.low, rec.serial, rec, after)
            self.host.fabric.changes += 1
            self.watches.changed(rec, old, new)

    def delete(self, rec: Record) -> None:
        """Remove an object; what is gone already is fine."""
        with self._lock:
            if self._tables.get(rec.cls.low, {}).pop(
                    rec.serial, None) is None:
                return
            self._paths.pop(rec.path.lower(), None)
            self._index.discard(
                rec.cls.low, rec.serial,
                index.terms(self._indexed(rec.cls), rec.props))
            self.host.fabric.changes += 1
            self.watches.changed(rec, rec.props, None)

    # -- look-ups ----------------------------------------------------------

    def by_path(self, path: str) -> typing.Optional[Record]:
        """The object at *path*, in any spelling, on this host."""
        found = self._paths.get(path.lower())
        if found is not None:
            return found
        parsed = objectpath.parse(path)
        if parsed is None or parsed.namespace.lower() not in ('', self.low):
            return None
        if parsed.host.lower() not in ('', '.', self.host.name.lower()):
            return None
        return self.get(parsed.cls, **parsed.keys)

    def holds(self, rec: Record) -> bool:
        """Whether the object is still there."""
        return self._tables.get(rec.cls.low, {}).get(rec.serial) is rec

    def get(self, class_name: str, **keys: typing.Any
            ) -> typing.Optional[Record]:
        """The object with exactly these keys; values may be text."""
        cls = self.classes.find(class_name)
        if cls is None:
            return None
        low = {key.lower(): value for key, value in keys.items()}
        if set(low) != {key.lower() for key in cls.keys}:
            return None
        kept = {key: low[key.lower()] for key in cls.keys}
        if not cls.text_keys or not all(
                type(value) is str for value in kept.values()):
            try:
                kept = self.convert(cls, kept)
            except errors.SchemaError:
                return None
        found = self._paths.get(self.path_of(cls, kept).lower())
        if found is not None:
            return found
        for sub in cls.subs:
            one = self.classes.find(sub)
            if one is not None and sub in self._tables:
                found = self._paths.get(self.path_of(
                    one, kept).lower()) if one.keys == cls.keys else None
                if found is not None:
                    return found
        return None

    def candidates(self, cls: ClassDef,
                   terms: typing.Sequence[index.Term]
                   ) -> typing.List[Record]:
        """Objects of *cls* that may match all *terms*, oldest first."""
        with self._lock:
            tables = [sub for sub in cls.subs if sub in self._tables]
            best = [self._tables[sub] for sub in tables]
            size = sum(map(len, best))
            for term in terms:
                if size < 2:
                    break
                slots = [slot for slot in (
                    self._index.get(sub, term) for sub in tables) if slot]
                count = sum(map(len, slots))
                if count < size:
                    best, size = slots, count
            found = [rec for slot in best for rec in slot.values()]
        found.sort(key=_serial)
        return found

    def find(self, class_name: str, **equals: typing.Any
             ) -> typing.List[Record]:
        """Objects of a class and its subclasses, in order of creation.

        Text and paths compare without case; a Record stands for its path.
        """
        cls = self.cls(class_name)
        tests = []
        terms = []
        for name, value in equals.items():
            prop = cls.prop(name)
            if prop is None:
                raise errors.SchemaError(f'{cls.name} has no {name}')
            wanted = values.convert(prop.type, prop.array, value)
            if type(wanted) is str:
                wanted = wanted.lower()
                if (prop.type == 'reference' or
                        prop.name.lower() in index.EQUAL):
                    terms.append(('=' + prop.name.lower(), wanted))
            tests.append((prop.name, wanted))
        return [rec for rec in self.candidates(cls, terms)
                if all(_equal(rec.props.get(name), wanted)
                       for name, wanted in tests)]

    def find_one(self, class_name: str, **equals: typing.Any
                 ) -> typing.Optional[Record]:
        """The first of :meth:`find`, or None."""
        found = self.find(class_name, **equals)
        return found[0] if found else None

    def under(self, prefix: str, class_name: typing.Optional[str] = None
              ) -> typing.List[Record]:
        """Objects whose InstanceID begins with *prefix*.

        :param prefix: 'Microsoft:<guid>' at least.
        :param class_name: only objects of this class and its subclasses.
        """
        low = prefix.lower()
        term = ('head', index.head(low))
        with self._lock:
            tables = (list(self._tables) if class_name is None
                      else self.cls(class_name).subs)
            found = [rec for table in tables
                     for rec in self._index.get(table, term).values()]
        found.sort(key=_serial)
        return [rec for rec in found
                if rec.props['InstanceID'].lower().startswith(low)]

    def referring(self, target: typing.Union[Record, str],
                  class_name: typing.Optional[str] = None
                  ) -> typing.List[Record]:
        """Association objects one of whose ends is *target*."""
        path = (target if isinstance(target, str) else target.path).lower()
        with self._lock:
            tables = (list(self._tables) if class_name is None
                      else self.cls(class_name).subs)
            found = {}
            for table in tables:
                cls = self.classes.find(table)
                for name in cls.references if cls else ():
                    found.update(self._index.get(
                        table, ('=' + name.lower(), path)))
        return [found[serial] for serial in sorted(found)]

    def all(self) -> typing.List[Record]:
        """Every object, in order of creation."""
        with self._lock:
            found = [rec for table in self._tables.values()
                     for rec in table.values()]
        found.sort(key=_serial)
        return found


def _serial(rec: Record) -> int:
    return rec.serial


def _equal(value: typing.Any, wanted: typing.Any) -> bool:
    if type(value) is str and type(wanted) is str:
        return value.lower() == wanted
    return bool(value == wanted)
