# SPDX-License-Identifier: Apache-2.0
"""What stock Nova 34 needs in order to be imported and to run on Windows.

Nova and its libraries dropped Windows between 2024 and 2026. Every shim here
mends one such place, for Windows alone, and is as small as can be:
:data:`SHIMS` is the documented table. A shim checks the place that it mends
first; where that has changed shape it raises :class:`ShapeChanged` rather
than patch something that it does not know.

Sources: each shim names the file it mends, as of nova 34.0.0, os-brick 7.1.1
and oslo.concurrency 7.6.1. os-win needs none: see ``oswin_loader``.
"""

from collections.abc import Callable
import dataclasses
import importlib
import inspect
import logging
import os
import subprocess
import sys
import types
from typing import Any

LOG = logging.getLogger(__name__)

_applied: list[str] = []


class ShapeChanged(RuntimeError):
    """A library no longer looks like what its shim was written for."""

    def __init__(self, shim: str, found: str) -> None:
        super().__init__(
            f'The Windows shim {shim!r} does not fit what is installed: '
            f'{found}. Use the releases that requirements.txt names, or a '
            f'newer compute-hyperv.')


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Shim:
    """One mended place.

    :ivar what: what is changed.
    :ivar why: what happens without it.
    :ivar until: when it can go.
    """

    name: str
    what: str
    why: str
    until: str
    apply: Callable[[], None]


class _Forward(types.ModuleType):
    """A module that answers one name itself and forwards the rest."""

    def __init__(self, real: types.ModuleType, **own: Any) -> None:
        super().__init__(real.__name__)
        self.__dict__.update(own, _real=real)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__['_real'], name)


class WindowsPopen(subprocess.Popen):  # type: ignore[type-arg]
    """Popen without the argument that Windows refuses; no console pops up."""

    def __init__(self, args: Any, *more: Any, **kwargs: Any) -> None:
        kwargs.pop('preexec_fn', None)
        kwargs.setdefault('creationflags',
                          getattr(subprocess, 'CREATE_NO_WINDOW', 0))
        super().__init__(args, *more, **kwargs)


def _require(shim: str, fits: bool, found: str) -> None:
    if not fits:
        raise ShapeChanged(shim, found)


def mend_processutils() -> None:
    """oslo_concurrency/processutils.py, ``execute``."""
    processutils = importlib.import_module('oslo_concurrency.processutils')
    real = processutils.subprocess
    if isinstance(real, _Forward):
        return
    _require('processutils', real is subprocess and
             'preexec_fn=' in inspect.getsource(processutils.execute),
             'oslo_concurrency.processutils.execute passes no preexec_fn')
    processutils.subprocess = _Forward(real, Popen=WindowsPopen)


def mend_os_brick() -> None:
    """os_brick/initiator/utils.py, ``check_manual_scan`` (runs at import)."""
    name = 'os_brick.initiator.utils'
    if name not in sys.modules:
        processutils = importlib.import_module(
            'oslo_concurrency.processutils')
        execute = processutils.execute

        def no_iscsiadm(*args: Any, **kwargs: Any) -> Any:
            raise processutils.ProcessExecutionError(
                'there is no iscsiadm on Windows')

        processutils.execute = no_iscsiadm
        try:
            importlib.import_module(name)
        finally:
            processutils.execute = execute
    supported = getattr(sys.modules[name], 'ISCSI_SUPPORTS_MANUAL_SCAN',
                        None)
    _require('os-brick', supported is False,
             f'{name}.ISCSI_SUPPORTS_MANUAL_SCAN is {supported!r}')


def mend_privsep() -> None:
    """nova/privsep: a daemon with other rights cannot exist on Windows."""
    context = getattr(importlib.import_module('nova.privsep'),
                      'sys_admin_pctxt', None)
    _require('privsep', hasattr(context, 'set_client_mode'),
             'nova.privsep.sys_admin_pctxt has no set_client_mode')
    context.set_client_mode(False)    # type: ignore[union-attr]


def program_data() -> str:
    """Where services keep their data on Windows."""
    return os.environ.get('ProgramData', r'C:\ProgramData')


def mend_defaults() -> None:
    """nova/conf: defaults that are Unix paths or lie in site-packages.

    Defaults only: whatever nova.conf says wins, before and after.
    """
    conf = importlib.import_module('nova.conf').CONF
    home = program_data() + r'\OpenStack\Nova'
    lockutils = importlib.import_module('oslo_concurrency.lockutils')
    lockutils.set_defaults(home + r'\locks')
    for name, group, value in (
            ('state_path', None, home),
            ('mkisofs_cmd', None, 'mkisofs.exe'),
            ('provider_config_location', 'compute',
             home + r'\provider_config')):
        try:
            conf.set_default(name, value, group=group)
        except Exception as error:    # any oslo.config error: same meaning
            raise ShapeChanged('defaults', str(error)) from error


SHIMS = (
    Shim(name='processutils', apply=mend_processutils,
         what="oslo.concurrency's execute() starts programs without "
              "preexec_fn and without a console window.",
         why="Popen refuses preexec_fn on Windows: every call fails with "
             "ValueError.",
         until='oslo.concurrency leaves preexec_fn out on Windows again.'),
    Shim(name='os-brick', apply=mend_os_brick,
         what='os_brick.initiator.utils is imported as on a host without '
              'iscsiadm.',
         why='It runs grep while it is imported and catches only '
             'ProcessExecutionError; nova.compute.manager imports it.',
         until="os-brick tolerates a missing grep (its guard for 'nt' went "
               'in 7.0.0).'),
    Shim(name='privsep', apply=mend_privsep,
         what="Nova's privileged functions run in the service itself.",
         why='oslo.privsep starts its daemon by fork and sudo.',
         until='oslo.privsep has a mode without daemon by default.'),
    Shim(name='defaults', apply=mend_defaults,
         what='state_path, lock_path, mkisofs_cmd and '
              'provider_config_location default to places that exist on '
              'Windows.',
         why='The defaults are below /etc or inside site-packages, where '
             'the identity of the node (compute_id) would be lost by the '
             'next upgrade.',
         until='Nova has defaults for Windows again.'),
)


def apply(platform: str = sys.platform) -> tuple[str, ...]:
    """Apply every shim, once, if this is Windows.

    Call it after ``nova.monkey_patch`` and before ``nova.compute.manager``
    is imported.

    :returns: names of the shims in force.
    :raises ShapeChanged: a library is not what its shim knows.
    """
    if platform != 'win32':
        return ()
    for shim in SHIMS:
        if shim.name not in _applied:
            shim.apply()
            _applied.append(shim.name)
            LOG.debug('Windows shim in force: %s', shim.name)
    return tuple(_applied)
