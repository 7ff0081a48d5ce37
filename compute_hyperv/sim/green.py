# SPDX-License-Identifier: Apache-2.0
"""What blocks a native thread must leave the thread of the green ones.

PyMI and os-win do the same: called from a green thread, they run what may
block in eventlet's pool of native threads.
"""

from __future__ import annotations

import sys
import typing


def _pool() -> typing.Any:
    """eventlet's pool if the caller is a green thread, else None."""
    eventlet = sys.modules.get('eventlet')
    if eventlet is None or not hasattr(eventlet, 'patcher'):
        return None
    if not eventlet.patcher.is_monkey_patched('thread'):
        return None
    if not eventlet.getcurrent().parent:
        return None
    from eventlet import tpool
    return tpool


def offload(function: typing.Callable[..., typing.Any],
            *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
    """Call *function*, in a native thread if this one is green."""
    pool = _pool()
    if pool is None:
        return function(*args, **kwargs)
    return pool.execute(function, *args, **kwargs)


def stop_loop() -> typing.NoReturn:
    """End an endless event loop of os-win, which swallows Exception.

    In a process of green threads the loop's wait runs in eventlet's pool;
    a SystemExit would kill the pool's thread, and whoever waits for it
    would wait for ever, but eventlet.Timeout, no Exception either, gets
    through.
    """
    eventlet = sys.modules.get('eventlet')
    if eventlet is not None and hasattr(eventlet, 'patcher') and (
            eventlet.patcher.is_monkey_patched('thread')):
        raise eventlet.Timeout(None)
    raise SystemExit(0)
