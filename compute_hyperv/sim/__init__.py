# SPDX-License-Identifier: Apache-2.0
"""A simulated Hyper-V host, or several, below the real os-win.

:class:`Fabric` and :class:`HostSpec` describe hosts, :func:`install` lets
os-win run on them.  Names are loaded when they are asked for, so that the
client side (:mod:`.wmi.face`, :mod:`.dll`, :mod:`.osmodules`) can be used
in an environment that has the standard library only.
"""

import importlib
import typing

_HOMES = {'Fabric': 'fabric', 'HostSpec': 'host', 'SwitchSpec': 'host',
          'NotSimulated': 'errors', 'x_wmi': 'errors',
          'install': 'install'}

__all__ = tuple(_HOMES)     # noqa: PLE0604 - the names are strings


def __getattr__(name: str) -> typing.Any:
    if name not in _HOMES:
        raise AttributeError(name)
    module = importlib.import_module('.' + _HOMES[name], __name__)
    return module if name == 'install' else getattr(module, name)
