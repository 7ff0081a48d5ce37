# SPDX-License-Identifier: Apache-2.0
"""WQL, as far as WMI's clients write it (oswin-surface.md, section 4).

``parse`` makes a :class:`Query`; ``compile_where`` makes of its condition
a test over properties, and names the index terms that settle it.
"""

from __future__ import annotations

import re
import typing

from .. import errors
from ..errors import fail
from . import index
from .schema import ClassDef
from .schema import PropDef

Env = typing.Mapping[str, typing.Any]
Test = typing.Callable[[Env], bool]
Node = typing.Tuple[typing.Any, ...]
Compiled = typing.Tuple[Test, typing.List[index.Term]]
_TOKEN = re.compile(
    r"""\s*('(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|!=|<>|<=|>=|"""
    r"""[=<>(),*]|[-\w.]+)""", re.S)
_ESCAPED = re.compile(r'\\(.)', re.S)
_WILD = re.compile(r'[%_\[]')
_SYSTEM = {one.lower(): one for one in (
    '__PATH', '__RELPATH', '__CLASS', '__SERVER', '__NAMESPACE')}


class Query(typing.NamedTuple):
    """A query in parts.

    :ivar fields: selected names in lower case, or None for ``*``.
    :ivar where: condition as nested tuples, or None.
    :ivar within_s: polling interval of an event query, or None.
    """

    fields: typing.Optional[typing.FrozenSet[str]]
    cls: str
    where: typing.Optional[Node]
    within_s: typing.Optional[float]


class Literal(typing.NamedTuple):
    text: str


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split(text.strip())
        self._at = 0

    def _bad(self) -> typing.NoReturn:
        fail(errors.WBEM_E_INVALID_QUERY, f'Invalid query: {self._text}')

    def _split(self, text: str) -> typing.List[str]:
        tokens, position = [], 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                self._bad()
            tokens.append(match.group(1))
            position = match.end()
        return tokens

    def _peek(self) -> str:
        return (self._tokens[self._at].lower()
                if self._at < len(self._tokens) else '')

    def _take(self) -> str:
        if self._at >= len(self._tokens):
            self._bad()
        self._at += 1
        return self._tokens[self._at - 1]

    def _skip(self, word: str) -> bool:
        if self._peek() != word:
            return False
        self._at += 1
        return True

    def _need(self, word: str) -> None:
        if not self._skip(word):
            self._bad()

    def query(self) -> Query:
        self._need('select')
        names = [self._take().lower()]
        while self._skip(','):
            names.append(self._take().lower())
        self._need('from')
        cls = self._take()
        within = None
        if self._skip('within'):
            try:
                within = float(self._take())
            except ValueError:
                self._bad()
        where = self._or() if self._skip('where') else None
        if self._at < len(self._tokens):
            self._bad()
        return Query(None if names == ['*'] else frozenset(names), cls,
                     where, within)

    def _or(self) -> Node:
        parts = [self._and()]
        while self._skip('or'):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else ('or', parts)

    def _and(self) -> Node:
        parts = [self._term()]
        while self._skip('and'):
            parts.append(self._term())
        return parts[0] if len(parts) == 1 else ('and', parts)

    def _term(self) -> Node:
        if self._skip('not'):
            return 'not', self._term()
        if self._skip('('):
            inner = self._or()
            self._need(')')
            return inner
        field = self._take()
        operator = self._take().lower()
        if operator == 'is':
            negated = self._skip('not')
            self._need('null')
            return 'null', field, not negated
        if operator == 'isa':
            return 'isa', field, self._operand()
        if operator == 'not':
            self._need('like')
            return 'not', ('like', field, self._operand())
        if operator == '<>':
            operator = '!='
        if operator not in ('=', '!=', '<', '>', '<=', '>=', 'like'):
            self._bad()
        return operator, field, self._operand()

    def _operand(self) -> typing.Union[Literal, str]:
        """A literal, unescaped once, or the name of a property."""
        token = self._take()
        if token[0] == "'":
            text = token[1:-1].replace("''", "'")
        elif token[0] == '"':
            text = token[1:-1]
        elif token[0].isdigit() or token[0] == '-':
            return Literal(token)
        elif token.lower() in ('true', 'false', 'null'):
            return Literal(token)
        elif token[0].isalpha() or token[0] == '_':
            return token
        else:
            self._bad()
        return Literal(_ESCAPED.sub(r'\1', text) if '\\' in text else text)


def parse(text: str) -> Query:
    """The parts of a query.

    :raises x_wmi: invalid query.
    """
    return _Parser(text).query()


class Condition(typing.NamedTuple):
    """A compiled condition.

    :ivar test: over a mapping of property names (``Target.Name`` in event
        queries) to kept values.
    :ivar terms: index terms every match satisfies.
    :ivar names: properties that the test reads.
    """

    test: Test
    terms: typing.List[index.Term]
    names: typing.FrozenSet[str]


def _like(pattern: str) -> typing.Callable[[str], bool]:
    low = pattern.lower()
    if low.endswith('%') and not _WILD.search(low[:-1]):
        prefix = low[:-1]
        return lambda value: value.lower().startswith(prefix)
    if low.startswith('%') and not _WILD.search(low[1:]):
        suffix = low[1:]
        return lambda value: value.lower().endswith(suffix)
    parts = re.split(r'(\[[^\]]*\]|%|_)', pattern)
    regex = re.compile(''.join(
        {'%': '.*', '_': '.'}.get(part) or
        (part if part[:1] == '[' else re.escape(part)) for part in parts),
        re.I | re.S)
    return lambda value: regex.fullmatch(value) is not None


def _coerce(prop: PropDef, literal: Literal) -> typing.Any:
    """A literal in the type of the property it is compared with."""
    text = literal.text
    if prop.type == 'boolean':
        low = text.lower()
        if low not in ('true', 'false', '1', '0'):
            raise ValueError(text)
        return low in ('true', '1')
    if 'int' in prop.type or prop.type == 'char16':
        return int(text)
    if prop.type.startswith('real'):
        return float(text)
    return text.lower()


_ORDER: typing.Dict[str, typing.Callable[
    [typing.Any, typing.Any], bool]] = {
    '=': lambda a, b: bool(a == b), '!=': lambda a, b: bool(a != b),
    '<': lambda a, b: bool(a < b), '>': lambda a, b: bool(a > b),
    '<=': lambda a, b: bool(a <= b), '>=': lambda a, b: bool(a >= b)}


def _fold(value: typing.Any) -> typing.Any:
    return value.lower() if type(value) is str else value


class _Compiler:
    def __init__(self, cls: ClassDef, prefixes: typing.Sequence[str]) -> None:
        self._cls = cls
        self._prefixes = prefixes
        self.names: typing.Set[str] = set()

    def _bad(self, text: str) -> typing.NoReturn:
        fail(errors.WBEM_E_INVALID_QUERY, f'Invalid query: {text}')

    def _field(self, name: str) -> typing.Tuple[str, PropDef]:
        """Key in the test's mapping and the property."""
        prefix, _, leaf = name.rpartition('.')
        if prefix.lower() not in self._prefixes:
            self._bad(name)
        system = _SYSTEM.get(leaf.lower())
        if system:
            prop = PropDef(system, 'string', False, None)
        else:
            found = self._cls.prop(leaf)
            if found is None or found.array or found.embedded:
                self._bad(f'{self._cls.name}.{leaf}')
            prop = found
        key = f'{prefix.lower()}.{prop.name}' if prefix else prop.name
        self.names.add(prop.name)
        return key, prop

    def node(self, node: Node) -> Compiled:
        kind = node[0]
        if kind in ('and', 'or'):
            return self._chain(kind, [self.node(one) for one in node[1]])
        if kind == 'not':
            inner, _terms = self.node(node[1])
            return (lambda env: not inner(env)), []
        if kind == 'null':
            key, _prop = self._field(node[1])
            return (lambda env: (env.get(key) is None) is node[2]), []
        if kind == 'isa':
            wanted = node[2].text.lower()
            source = node[1].lower()
            return (lambda env: wanted in env[source]), []
        return self._compare(kind, node[1], node[2])

    @staticmethod
    def _chain(kind: str, parts: typing.List[Compiled]) -> Compiled:
        tests = [test for test, _terms in parts]
        if kind == 'or':
            return (lambda env: any(test(env) for test in tests)), []
        return ((lambda env: all(test(env) for test in tests)),
                [term for _test, terms in parts for term in terms])

    def _compare(self, operator: str, name: str,
                 operand: typing.Union[Literal, str]) -> Compiled:
        key, prop = self._field(name)
        if operator == 'like':
            return self._compare_like(key, prop, operand)
        relation = _ORDER[operator]
        if not isinstance(operand, Literal):
            other, _prop = self._field(operand)
            return (lambda env: relation(_fold(env.get(key)),
                                         _fold(env.get(other)))), []
        try:
            wanted = _coerce(prop, operand)
        except ValueError:
            self._bad(f'{prop.name} {operator} {operand.text}')
        terms = []
        if type(wanted) is str and operator == '=' and key == prop.name:
            low = prop.name.lower()
            if low in index.EQUAL or prop.type == 'reference':
                terms = [('=' + low, wanted)]
            if low == '__path':
                terms = [('path', wanted)]

        def test(env: Env) -> bool:
            value = env.get(key)
            if value is None:
                return operator == '!='
            return relation(_fold(value), wanted)
        return test, terms

    def _compare_like(self, key: str, prop: PropDef,
                      operand: typing.Union[Literal, str]) -> Compiled:
        if not isinstance(operand, Literal) or prop.type != 'string':
            self._bad(f'{prop.name} like {operand}')
        pattern = operand.text
        matches = _like(pattern)
        term = None
        if key == 'InstanceID':
            wild = _WILD.search(pattern)
            if wild and wild.start():
                term = index.head_of_pattern(pattern[:wild.start()])
            elif wild and pattern[0] == '%' and not _WILD.search(
                    pattern, 1):
                term = index.tail_of_pattern(pattern[1:])

        def test(env: Env) -> bool:
            value = env.get(key)
            return value is not None and matches(value)
        return test, [term] if term else []


def _always(env: Env) -> bool:
    return True


def compile_where(where: typing.Optional[Node], cls: ClassDef,
                  prefixes: typing.Sequence[str] = ('',)) -> Condition:
    """Make a test of a condition on *cls*.

    :param prefixes: what may stand before the dot of a property,
        lower-case; event queries have 'targetinstance' and so on.
    :raises x_wmi: invalid query.
    """
    if where is None:
        return Condition(_always, [], frozenset())
    compiler = _Compiler(cls, prefixes)
    test, terms = compiler.node(where)
    return Condition(test, terms, frozenset(compiler.names))


def isa_class(where: typing.Optional[Node]) -> typing.Optional[str]:
    """The class in ``TargetInstance ISA 'class'`` of an event query."""
    if where is None:
        return None
    if where[0] == 'isa' and isinstance(where[2], Literal):
        return where[2].text
    if where[0] == 'and':
        return next(filter(None, map(isa_class, where[1])), None)
    return None
