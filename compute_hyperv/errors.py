# SPDX-License-Identifier: Apache-2.0
"""Errors of this driver, and the one border that os-win's do not cross.

Ours derive from the Nova exception that the compute manager already handles::

    NovaException
    +-- HyperVError                   any failed call to Hyper-V
    |   +-- HypervisorPermissionDenied    the service account lacks rights
    |   +-- DiskOperationFailed           virtual disk or file operation
    |   +-- UnknownDisk                   nobody knows whose disk it is
    |   +-- CommandFailed                 qemu-img, mkisofs
    |   +-- ClusterOperationFailed        failover cluster
    |   +-- NotSupportedByHost            this Windows version cannot do it
    |   +-- WaitTimeout                   a wait ran into its deadline
    |   |   +-- JobsStillRunning          ... while jobs hold the VM
    |   +-- Aborted                       asked to stop between two steps
    |   +-- LockFailed                    the service of shared locks fails
    +-- InvalidConfiguration
    |   +-- BadOption                     an option that cannot work here
    +-- VirtualInterfacePlugException
    |   +-- VSwitchNotFound, UnsupportedVif, VifCommandFailed
    +-- DeviceNotFound, DiskNotFound, InstanceNotFound   (Nova's own)
"""

from collections.abc import Callable
import errno
import functools
import inspect
from typing import Any
from typing import TypeVar

from nova import exception
from nova.i18n import _

from compute_hyperv import oswin_loader

# os-win can be imported only behind the loader (it imports eventlet, which
# Nova refuses in its threading mode).
oswin_loader.install()

from os_win import exceptions as os_win_exc  # noqa: E402,H306

_T = TypeVar('_T', bound=type)

#: What os-win raises; raw WMI errors are no OSWinException.
OS_WIN_ERRORS = (os_win_exc.OSWinException, os_win_exc.x_wmi)


class HyperVError(exception.NovaException):
    msg_fmt = _("Hyper-V: %(reason)s")


class HypervisorPermissionDenied(HyperVError):
    msg_fmt = _("The account that runs nova-compute may not manage Hyper-V "
                "on this host: %(reason)s. Add it to the local group 'Hyper-V "
                "Administrators' and restart the service")


class DiskOperationFailed(HyperVError):
    msg_fmt = _("Disk operation failed: %(reason)s")


class UnknownDisk(HyperVError):
    msg_fmt = _("%(vm_name)s has a physical disk at %(slot)s, tagged "
                "%(tag)s, that belongs to no volume of this instance. Which "
                "disk of the host it would get is not known, so it does not "
                "start. Remove that disk from the VM")


class CommandFailed(HyperVError):
    msg_fmt = _("%(command)s failed: %(reason)s")


class ClusterOperationFailed(HyperVError):
    msg_fmt = _("Failover cluster: %(reason)s")


class NotSupportedByHost(HyperVError):
    msg_fmt = _("This Hyper-V host does not support it: %(reason)s")


class WaitTimeout(HyperVError):
    msg_fmt = _("%(what)s: not done within %(timeout_s)s seconds")


class JobsStillRunning(WaitTimeout):
    msg_fmt = _("Hyper-V still works on %(vm_name)s after %(timeout_s)s "
                "seconds (%(option)s): %(jobs)s")


class Aborted(HyperVError):
    msg_fmt = _("%(what)s was aborted before '%(step)s'")


class LockFailed(HyperVError):
    msg_fmt = _("Lock %(name)s, shared with other hosts by [coordination] "
                "backend_url: %(reason)s")


class BadOption(exception.InvalidConfiguration):
    msg_fmt = _("Option %(option)s: %(reason)s")


class VSwitchNotFound(exception.VirtualInterfacePlugException):
    msg_fmt = _("There is no virtual switch '%(vswitch)s' on this host "
                "([hyperv] vswitch_name) for port %(port_id)s")


class UnsupportedVif(exception.VirtualInterfacePlugException):
    msg_fmt = _("Port %(port_id)s has VIF type '%(vif_type)s': %(hint)s")


class VifCommandFailed(exception.VirtualInterfacePlugException):
    msg_fmt = _("Port %(port_id)s: %(reason)s")


def _reason(cls: type[exception.NovaException]
            ) -> Callable[[BaseException, str], exception.NovaException]:
    return lambda exc, vm_name: cls(reason=text_of(exc))


#: Windows error codes of sockets (WSABASEERR and so on).
_SOCKET_CODES = range(10000, 12000)

#: os-win's class -> how to make Nova's error of it. The nearest class in the
#: method resolution order of the raised one decides.
_NOVA_FOR: dict[type[BaseException],
                Callable[[BaseException, str], exception.NovaException]] = {
    os_win_exc.OSWinException: _reason(HyperVError),
    # Raw WMI errors are no OSWinException.
    os_win_exc.x_wmi: _reason(HyperVError),
    os_win_exc.HyperVVMNotFoundException: (
        lambda exc, vm_name: exception.InstanceNotFound(
            instance_id=vm_name or text_of(exc))),
    os_win_exc.DiskNotFound: (
        lambda exc, vm_name: exception.DiskNotFound(location=text_of(exc))),
    os_win_exc.PciDeviceNotFound: (
        lambda exc, vm_name: exception.DeviceNotFound(device=text_of(exc))),
    os_win_exc.HyperVvNicNotFound: (
        lambda exc, vm_name: exception.DeviceNotFound(device=text_of(exc))),
    os_win_exc.HyperVPortNotFoundException: (
        lambda exc, vm_name: exception.DeviceNotFound(device=text_of(exc))),
    os_win_exc.HyperVAuthorizationException: (
        _reason(HypervisorPermissionDenied)),
    os_win_exc.VHDException: _reason(DiskOperationFailed),
    os_win_exc.Win32IOException: _reason(DiskOperationFailed),
    os_win_exc.ClusterException: _reason(ClusterOperationFailed),
    os_win_exc.HyperVClusterException: _reason(ClusterOperationFailed),
    os_win_exc.UnsupportedOperation: _reason(NotSupportedByHost),
    # Files only, see is_foreign().
    OSError: _reason(DiskOperationFailed),
}


def text_of(exc: BaseException) -> str:
    """Give the error's own text as a plain string, never empty."""
    info = getattr(exc, 'info', None)        # x_wmi keeps it beside its args
    return str(exc) or str(info or '') or type(exc).__name__


def is_foreign(exc: BaseException) -> bool:
    """Whether *exc* is os-win's, WMI's or a Windows file error.

    An OSError counts if it is about a file. Python gives a Windows code to
    what it asks Windows for, but only a file name to what ``open`` could
    not, and neither to a write that found the disk full. Other OSErrors are
    failed network connections of Nova's own libraries, which Nova handles.
    """
    if isinstance(exc, OSError):
        code = getattr(exc, 'winerror', None)
        if code is not None:
            return code not in _SOCKET_CODES
        return exc.filename is not None or exc.errno == errno.ENOSPC
    return isinstance(exc, OS_WIN_ERRORS)


def is_expected(exc: BaseException) -> bool:
    """Whether *exc* tells of the host or the request, not of a defect."""
    return isinstance(exc, exception.NovaException) or is_foreign(exc)


def is_foreign_or_ours(exc: BaseException) -> bool:
    """Whether another attempt may succeed: the host's trouble, no refusal.

    :class:`nova.exception.DiskNotFound` is one that may pass, too.
    """
    return (isinstance(exc, (HyperVError, exception.DiskNotFound))
            or is_foreign(exc))


def to_nova(exc: BaseException, vm_name: str = '') -> exception.NovaException:
    """Give the Nova error for an os-win one.

    :param exc: what os-win, WMI or the file system raised.
    :param vm_name: what to call the instance if that is what is missing.
    """
    for cls in type(exc).__mro__:
        if cls in _NOVA_FOR:
            return _NOVA_FOR[cls](exc, vm_name)
    return HyperVError(reason=text_of(exc))


def _instance_uuid(bound: dict[str, Any]) -> str:
    return str(getattr(bound.get('instance'), 'uuid', '') or '')


def _bounded(method: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(method)

    @functools.wraps(method)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except Exception as exc:
            if not is_foreign(exc):
                raise
            arguments = signature.bind_partial(*args, **kwargs).arguments
            raise to_nova(exc, _instance_uuid(arguments)) from exc
    return bounded


def boundary(cls: _T) -> _T:
    """Class decorator: os-win's errors leave *cls* only as Nova's.

    Wraps the public methods that the class itself defines (signatures are
    kept, Nova compares them) and its constructor; class and static methods,
    properties and what is inherited stay as they are.
    """
    for name, member in list(vars(cls).items()):
        public = not name.startswith('_') or name == '__init__'
        if public and inspect.isfunction(member):
            setattr(cls, name, _bounded(member))
    return cls
