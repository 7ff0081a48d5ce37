# SPDX-License-Identifier: Apache-2.0
r"""Indexes that keep the cost of keyed look-ups independent of the VMs.

Terms are tuples ``(kind, text)``, all lower case:

* ``('=name', value)``: equality of a string property (:data:`EQUAL`) or
  of any reference;
* ``('head', value)``: first component of InstanceID, for every
  ``InstanceID LIKE 'Microsoft:<guid>%'``;
* ``('tail', value)``: last component, for ``LIKE '%\Default'``.
"""

from __future__ import annotations

import re
import typing

from .schema import PropDef

Term = typing.Tuple[str, str]

#: String properties by which os-win or a provider looks things up.
EQUAL = frozenset((
    'instanceid', 'elementname', 'name', 'parent', 'systemname',
    'resourcesubtype', 'configurationid', 'virtualsystemidentifier',
    'deviceid', 'id', 'objectid', 'guid', 'localpath', 'remotepath',
    'path', 'uniqueid'))

_GUID_HEAD = re.compile(r'microsoft:[0-9a-f]{8}-[0-9a-f-]{27}')


def head(text: str) -> str:
    r"""First component of a lower-case InstanceID.

    'microsoft:<guid>' whatever follows, else what is before a ``\``.
    """
    match = _GUID_HEAD.match(text)
    return match.group() if match else text.partition('\\')[0]


def tail(text: str) -> str:
    return text.rpartition('\\')[2]


def head_of_pattern(literal: str) -> typing.Optional[Term]:
    """The term for ``LIKE 'literal%'`` if the literal settles it."""
    text = literal.lower()
    if _GUID_HEAD.match(text) or '\\' in text:
        return 'head', head(text)
    return None


def tail_of_pattern(literal: str) -> typing.Optional[Term]:
    """The term for ``LIKE '%literal'`` if the literal settles it."""
    return ('tail', tail(literal.lower())) if '\\' in literal else None


def kinds(props: typing.Iterable[PropDef]
          ) -> typing.Tuple[typing.Tuple[str, str], ...]:
    """The indexed ones among *props*, with the kind of their terms."""
    return tuple((one.name, '=' + one.name.lower()) for one in props
                 if one.type == 'reference' or
                 one.type == 'string' and not one.array and
                 one.name.lower() in EQUAL)


def terms(indexed: typing.Iterable[typing.Tuple[str, str]],
          props: typing.Mapping[str, typing.Any]) -> typing.List[Term]:
    """All terms of one object.

    :param indexed: what :func:`kinds` gave for its class.
    """
    found = []
    for name, kind in indexed:
        value = props.get(name)
        if type(value) is str:
            low = value.lower()
            found.append((kind, low))
            if name == 'InstanceID':
                found.append(('head', head(low)))
                found.append(('tail', tail(low)))
    return found


class Index:
    """Objects by class and term, each list in order of creation."""

    def __init__(self) -> None:
        self._objects: typing.Dict[typing.Tuple[str, str, str],
                                   typing.Dict[int, typing.Any]] = {}

    def add(self, cls: str, serial: int, found: typing.Any,
            own_terms: typing.Iterable[Term]) -> None:
        for kind, text in own_terms:
            self._objects.setdefault(
                (cls, kind, text), {})[serial] = found

    def discard(self, cls: str, serial: int,
                own_terms: typing.Iterable[Term]) -> None:
        for kind, text in own_terms:
            slot = self._objects.get((cls, kind, text))
            if slot is not None:
                slot.pop(serial, None)
                if not slot:
                    del self._objects[cls, kind, text]

    def get(self, cls: str, term: Term) -> typing.Dict[int, typing.Any]:
        return self._objects.get((cls,) + term, {})
