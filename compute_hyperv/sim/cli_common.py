# SPDX-License-Identifier: Apache-2.0
"""What the commands of ``hyperv-sim`` share."""

from __future__ import annotations

import argparse
import math
import typing

from . import remote

SOCKET_VARIABLE = 'HYPERV_SIM_SOCKET'
Args = argparse.Namespace
Sub = typing.Callable[..., argparse.ArgumentParser]
Socket = typing.Callable[[argparse.ArgumentParser], None]


def check_socket(args: Args) -> None:
    """Refuse a command that does not know its fabric.

    :raises ValueError: with what to do.
    """
    if not args.socket:
        raise ValueError('which fabric? Give --socket or set $%s, as "serve" '
                         'prints it' % SOCKET_VARIABLE)


def call(args: Args, op: str, **what: typing.Any) -> typing.Any:
    """Have the server do an administrator's act."""
    check_socket(args)
    return remote.admin(args.socket, op, **what)


def show(what: typing.Any) -> None:
    """Print a table, or text."""
    from . import show as tables
    tables.console().print(what)


def show_rows(view: str, rows: typing.Any) -> None:
    """Print a view's rows as a table that fits."""
    from . import show as tables
    where = tables.console()
    where.print(tables.table(view, rows, where.width))


def integer(text: str) -> int:
    """A number in C's notations, as type of an argument."""
    try:
        return int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'{text!r} is no number, such as 5 or 0x80041001') from None


def limited(kind: typing.Callable[[str], typing.Any], least: float,
            most: float = math.inf) -> typing.Callable[[str], typing.Any]:
    """A number in a range, as type of an argument."""
    def read(text: str) -> typing.Any:
        try:
            found = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f'{text!r} is no number') from None
        if not least <= found <= most:
            raise argparse.ArgumentTypeError(
                f'{text} is not between {least:g} and {most:g}'
                if most < math.inf else f'{text} is less than {least:g}')
        return found
    return read
