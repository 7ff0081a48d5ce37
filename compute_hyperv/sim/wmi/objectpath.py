# SPDX-License-Identifier: Apache-2.0
r"""Object paths: ``\\HOST\root\ns:Class.Key="v",Key2=3``.

One canonical spelling is used everywhere, stored values included,
because os-win compares paths as text (oswin-surface.md, section 9, 13).
"""

from __future__ import annotations

import re
import typing

Keys = typing.Dict[str, str]

_PATH = re.compile(
    r'^(?:[\\/]{2}(?P<host>[^\\/]+)[\\/](?P<ns>[^:]+):)?(?P<cls>\w+)'
    r'(?:\.(?P<keys>.*)|=@)?$', re.S)
_KEY = re.compile(r'\s*(\w+)\s*=\s*("(?:[^"\\]|\\.)*"|[^,"]*)\s*(?:,|$)',
                  re.S)
_ESCAPED = re.compile(r'\\(.)', re.S)


class ParsedPath(typing.NamedTuple):
    """``host`` and ``namespace`` are '' in a relative path."""

    host: str
    namespace: str
    cls: str
    keys: Keys


def quote(value: str) -> str:
    escaped = value.replace('\\', '\\\\').replace('"', '\\"')
    return f'"{escaped}"'


def relative(cls: str, keys: typing.Iterable[typing.Tuple[
        str, typing.Any]]) -> str:
    """``Class.Key="v",Number=3`` with the keys in the order given."""
    parts = [f'{name}={quote(value)}' if isinstance(value, str)
             else f'{name}={value}' for name, value in keys]
    return f'{cls}.{",".join(parts)}' if parts else f'{cls}=@'


def absolute(host: str, namespace: str, relative_path: str) -> str:
    tail = namespace.replace('/', '\\')
    return f'\\\\{host}\\{tail}:{relative_path}'


def parse(text: str) -> typing.Optional[ParsedPath]:
    """The parts of a path to an instance; None if it is not one.

    Keys come back unescaped and as text whatever their type.
    """
    match = _PATH.match(text)
    if match is None:
        return None
    keys: Keys = {}
    rest, position = match.group('keys') or '', 0
    while position < len(rest):
        key = _KEY.match(rest, position)
        if key is None:
            return None
        value = key.group(2)
        if value[:1] == '"':
            value = _ESCAPED.sub(r'\1', value[1:-1])
        keys[key.group(1)] = value
        position = key.end()
    return ParsedPath(match.group('host') or '',
                      (match.group('ns') or '').replace('\\', '/'),
                      match.group('cls'), keys)


def full(path: str, beside: str) -> str:
    """*path* made absolute with the namespace of the path *beside*."""
    if path.startswith(('\\\\', '//')):
        return path
    return beside.partition(':')[0] + ':' + path
