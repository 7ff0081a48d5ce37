# SPDX-License-Identifier: Apache-2.0
"""The host that a driver under construction is to get."""

from __future__ import annotations

import contextlib
import contextvars
import typing

_current: contextvars.ContextVar[typing.Any] = contextvars.ContextVar(
    'simulated_host', default=None)


def current_host() -> typing.Any:
    """The host (or remote host) that :func:`on_host` made current.

    :raises LookupError: none is.
    """
    found = _current.get()
    if found is None:
        raise LookupError(
            'no simulated host is current: build drivers and ask '
            'os_win.utilsfactory only inside "with fabric.on(name)"')
    return found


@contextlib.contextmanager
def on_host(host: typing.Any) -> typing.Iterator[typing.Any]:
    """Make *host* the one that drivers built in the block get."""
    token = _current.set(host)
    try:
        yield host
    finally:
        _current.reset(token)
