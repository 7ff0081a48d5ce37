# SPDX-License-Identifier: Apache-2.0
"""CIM types: what a property accepts, how values are kept and written.

Kept form (records, and what crosses the port): integers as int, strings
and references (canonical object paths) as str, booleans as bool, reals as
float, dates and intervals as CIM text, embedded instances as objects with
``wire()``, arrays as tuple, nothing as None.
"""

from __future__ import annotations

import datetime
import math
import re
import typing

_RANGES = {
    'uint8': (0, 0xFF), 'uint16': (0, 0xFFFF), 'uint32': (0, 0xFFFFFFFF),
    'uint64': (0, (1 << 64) - 1), 'char16': (0, 0xFFFF),
    'sint8': (-0x80, 0x7F), 'sint16': (-0x8000, 0x7FFF),
    'sint32': (-(1 << 31), (1 << 31) - 1),
    'sint64': (-(1 << 63), (1 << 63) - 1)}

_DATETIME = re.compile(
    r'(\d{14})\.(\d{6})([+-]\d{3})$|(\d{8})(\d\d)(\d\d)(\d\d)\.(\d{6}):000$')
_TRUE = frozenset(('true', 'yes', '1'))


def cim_datetime(epoch_s: float) -> str:
    """CIM text of a point in time, in UTC."""
    moment = datetime.datetime.fromtimestamp(
        epoch_s, datetime.timezone.utc)
    return moment.strftime('%Y%m%d%H%M%S.%f+000')


def cim_interval(seconds: float) -> str:
    """CIM text of a length of time."""
    whole = math.floor(seconds)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    micros = int((seconds - whole) * 1000000)
    return f'{days:08d}{hour:02d}{minute:02d}{second:02d}.{micros:06d}:000'


def python_datetime(text: str) -> typing.Union[
        datetime.datetime, datetime.timedelta]:
    """What PyMI makes of CIM text: naive, the time zone is ignored."""
    match = _DATETIME.match(text)
    if match is None:
        raise ValueError(f'not a CIM date: {text!r}')
    if match.group(1):
        moment = datetime.datetime.strptime(
            match.group(1), '%Y%m%d%H%M%S')
        return moment.replace(microsecond=int(match.group(2)))
    days, hours, minutes, seconds, micros = map(int, match.groups()[3:])
    return datetime.timedelta(days, seconds, micros, 0, minutes, hours)


def _integer(kind: str, value: typing.Any) -> int:
    if isinstance(value, bool):
        raise TypeError('a boolean is not an integer')
    if not isinstance(value, (int, str)):
        raise TypeError(f'{value!r} is not an integer')
    number = int(value)
    low, high = _RANGES[kind]
    if not low <= number <= high:
        raise ValueError(f'{number} does not fit into {kind}')
    return number


def _boolean(value: typing.Any) -> bool:
    if isinstance(value, (bool, int)):
        return bool(value)
    if isinstance(value, str):
        return value.lower() in _TRUE
    raise TypeError(f'{value!r} is not a boolean')


def _text(value: typing.Any) -> str:
    # An object that has a path stands for its path.
    path = getattr(value, 'path', None)
    return path if isinstance(path, str) else str(value)


def _date(value: typing.Any) -> str:
    if not isinstance(value, str) or not _DATETIME.match(value):
        raise TypeError(f'{value!r} is not a CIM date')
    return value


def convert_one(kind: str, value: typing.Any) -> typing.Any:
    """*value* in kept form for CIM type *kind*.

    :raises TypeError, ValueError: it cannot be had.
    """
    if kind in _RANGES:
        return _integer(kind, value)
    if kind == 'string' or kind == 'reference':
        return value if type(value) is str else _text(value)
    if kind == 'boolean':
        return _boolean(value)
    if kind == 'datetime':
        return _date(value)
    if kind in ('real32', 'real64'):
        return float(value)
    if not hasattr(value, 'wire'):
        raise TypeError(f'{value!r} is not an instance')
    return value


def convert(kind: str, array: bool, value: typing.Any) -> typing.Any:
    """Like :func:`convert_one`, for None and arrays too."""
    if value is None:
        return None
    if not array:
        return convert_one(kind, value)
    if not isinstance(value, (list, tuple)):
        raise TypeError(f'{value!r} is not an array')
    return tuple(convert_one(kind, item) for item in value)
