# SPDX-License-Identifier: Apache-2.0
"""Where providers say what methods do and which properties are computed.

Registrations are made when a provider module is imported.  One for a class
holds for its subclasses too; the most specific wins.
"""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from .. import host as host_module
    from . import engine
    from . import schema

Out = typing.Union[typing.Dict[str, typing.Any], int, None]
Handler = typing.Callable[['Call'], Out]
PutHandler = typing.Callable[['Call'], typing.Optional['engine.Record']]
DeleteHandler = typing.Callable[['Call'], None]
Compute = typing.Callable[[typing.Any, 'engine.Record'],
                          typing.Dict[str, typing.Any]]
H = typing.TypeVar('H', bound=typing.Callable[..., typing.Any])


class Call:
    """One call that a provider answers.

    :ivar host: the simulated host; ``store``: the namespace on it.
    :ivar cls: class of the target, or the class called statically.
    :ivar target: the Record called on, None for a static method or a put
        that creates.
    :ivar method: canonical name; 'put' and 'delete' for those.
    :ivar args: declared name -> value, absent ones as None; references
        are Records, embedded instances Embedded.  For a put: the
        properties that the client set.
    """

    __slots__ = ('host', 'store', 'cls', 'target', 'method', 'args')

    def __init__(self, store: 'engine.Store', cls: 'schema.ClassDef',
                 target: typing.Optional['engine.Record'], method: str,
                 args: typing.Dict[str, typing.Any]) -> None:
        self.host: 'host_module.Host' = store.host
        self.store = store
        self.cls = cls
        self.target = target
        self.method = method
        self.args = args

    @property
    def record(self) -> 'engine.Record':
        """The target of a method that is not static."""
        if self.target is None:
            raise LookupError('%s has no target' % self.method)
        return self.target


class Computed(typing.NamedTuple):
    """A function that gives some properties when they are read."""

    names: typing.FrozenSet[str]
    function: Compute


_methods: typing.Dict[typing.Tuple[str, str, str], Handler] = {}
_computed: typing.Dict[typing.Tuple[str, str],
                       typing.List[Computed]] = {}
_live: typing.Dict[typing.Tuple[str, str],
                   typing.Callable[[typing.Any], None]] = {}
_puts: typing.Dict[typing.Tuple[str, str], PutHandler] = {}
_deletes: typing.Dict[typing.Tuple[str, str], DeleteHandler] = {}


def method(namespace: str, cls: str, name: str
           ) -> typing.Callable[[H], H]:
    """Register what method *name* of *cls* does.

    The function gets a :class:`Call` and gives the out parameters by
    name (missing ones are null, ReturnValue is 0 then), or just the
    ReturnValue.  A Record among them becomes its path, or an embedded
    instance where the parameter is one.
    """
    def register(function: H) -> H:
        _methods[namespace.lower(), cls.lower(), name.lower()] = function
        return function
    return register


def computed(namespace: str, cls: str, *names: str
             ) -> typing.Callable[[H], H]:
    """Register ``f(host, record) -> {name: value}`` for *names*.

    It is called when a query or a get wants one of them.
    """
    def register(function: H) -> H:
        _computed.setdefault((namespace.lower(), cls.lower()), []).append(
            Computed(frozenset(names), function))
        return function
    return register


def live(namespace: str, cls: str) -> typing.Callable[[H], H]:
    """Register ``f(host)``, called before instances of *cls* are sought.

    It makes and deletes them, for classes whose instances come and go
    without anybody's doing.
    """
    def register(function: H) -> H:
        _live[namespace.lower(), cls.lower()] = function
        return function
    return register


def refresh(host: typing.Any, namespace: str, cls: 'schema.ClassDef'
            ) -> None:
    """Bring the instances of *cls* up to date."""
    function = _live.get((namespace.lower(), cls.low))
    if function is not None:
        function(host)


def on_put(namespace: str, cls: str) -> typing.Callable[[H], H]:
    """Register ``f(call)`` for ``put()``; it gives the Record."""
    def register(function: H) -> H:
        _puts[namespace.lower(), cls.lower()] = function
        return function
    return register


def on_delete(namespace: str, cls: str) -> typing.Callable[[H], H]:
    """Register ``f(call)`` for ``Delete_()`` of ``call.target``."""
    def register(function: H) -> H:
        _deletes[namespace.lower(), cls.lower()] = function
        return function
    return register


def _line(cls: 'schema.ClassDef') -> typing.Iterator[str]:
    yield cls.low
    for name in cls.supers:
        yield name.lower()


def find_method(namespace: str, cls: 'schema.ClassDef', name: str
                ) -> typing.Optional[Handler]:
    for one in _line(cls):
        found = _methods.get((namespace, one, name.lower()))
        if found is not None:
            return found
    return None


def find_put(namespace: str, cls: 'schema.ClassDef'
             ) -> typing.Optional[PutHandler]:
    return next((_puts[namespace, one] for one in _line(cls)
                 if (namespace, one) in _puts), None)


def find_delete(namespace: str, cls: 'schema.ClassDef'
                ) -> typing.Optional[DeleteHandler]:
    return next((_deletes[namespace, one] for one in _line(cls)
                 if (namespace, one) in _deletes), None)


def find_computed(namespace: str, cls: 'schema.ClassDef'
                  ) -> typing.Tuple[Computed, ...]:
    """What is computed for *cls*; base classes first."""
    return tuple(
        one for low in reversed(list(_line(cls)))
        for one in _computed.get((namespace, low), ()))
