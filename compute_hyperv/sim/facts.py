# SPDX-License-Identifier: Apache-2.0
"""Check what a person wrote about hosts, and say what is wrong with it."""

from __future__ import annotations

import collections.abc
import difflib
import typing


def known(where: str, facts: typing.Iterable[str],
          names: typing.Iterable[str]) -> None:
    """Refuse a name that has no meaning.

    :param where: what the names belong to, for the message.
    :raises ValueError: with the name that was perhaps meant, else all.
    """
    there = sorted(names)
    for fact in facts:
        if fact not in there:
            close = difflib.get_close_matches(str(fact), there, 1)
            hint = (f'did you mean {close[0]}?' if close else
                    f'there are {", ".join(there)}')
            raise ValueError(f'{where}: {fact} is unknown; {hint}')


def number(where: str, name: str, value: typing.Any,
           least: typing.Optional[float] = None) -> None:
    """Refuse what is no number; with *least*, also what is below it.

    :raises ValueError: with name and value.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f'{where}: {name} is no number: {value!r}')
    if least is not None and value < least:
        raise ValueError(f'{where}: {name} is {value}, but has to be at '
                         f'least {least}')


def whole(where: str, name: str, value: typing.Any, least: int) -> None:
    """Refuse what is no whole number of at least *least*.

    :raises ValueError: with name and value.
    """
    number(where, name, value, least)
    if not isinstance(value, int):
        raise ValueError(f'{where}: {name} is no whole number: {value!r}')


def mapping(where: str, name: str, value: typing.Any) -> None:
    """Refuse what has no names and values.

    :raises ValueError: with name and value.
    """
    if not isinstance(value, collections.abc.Mapping):
        raise ValueError(f'{where}: {name} is no mapping: {value!r}')


def sizes(where: str, name: str, value: typing.Any) -> None:
    """Refuse what does not map names to sizes in GiB.

    :raises ValueError: with what is wrong.
    """
    mapping(where, name, value)
    for one, gib in value.items():
        number(where, f'{name}: {one}', gib, 0)


def listed(where: str, name: str, value: typing.Any) -> None:
    """Refuse what is no list.

    :raises ValueError: with name and value.
    """
    if isinstance(value, str) or not isinstance(
            value, collections.abc.Iterable):
        raise ValueError(f'{where}: {name} is no list: {value!r}')
