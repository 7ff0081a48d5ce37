# SPDX-License-Identifier: Apache-2.0
"""Disks of running machines that are resized (hyperv-semantics.md 6).

A VHDX on a SCSI controller grows and shrinks while the machine runs [D]; a
VHD, and whatever is on IDE, only while it is off. A file whose disks are
being merged stays as large as it is (section 8, [F]).
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import typing

from . import devices
from . import winerror
from .winerror import WinError

if typing.TYPE_CHECKING:
    from .diskhandles import DiskHandle
    from .host import Host
    from .virtualdisks import VirtualDisks
    from .vm import Vm
    from .wmi import engine

_MERGING = 32772                #: second OperationalStatus (section 2)
_OWNER = 'vm '                  #: how storage.hold names a machine


def is_possible(host: Host, handle: DiskHandle) -> bool:
    """Whether a machine of this host uses the file and lets it be resized.

    os-win opens a disk with every right to resize it, which the machine's
    own hold would refuse; that such an opening is let through, for this
    purpose, is field knowledge.
    """
    if not host.quirks.vhdx_resizes_online:
        return False
    for opened in host.storage.shares.handles.of_file(handle.key):
        if opened.host != host.name or not opened.owner.startswith(_OWNER):
            continue
        vm = host.vms.by_guid(opened.owner[len(_OWNER):])
        medium = _medium(vm, opened) if vm is not None else None
        if vm is not None and medium is not None:
            return _is_on_scsi(vm, medium)
    return False


def _medium(vm: Vm, opened: typing.Any) -> engine.Record | None:
    """The medium whose own file, not a parent of it, is *opened*."""
    worker = vm.worker
    for medium in vm.media() if worker is not None else ():
        held = worker.files.get(medium['InstanceID']) if worker else None
        files = getattr(held, 'files', None)
        if files and files[0] is opened:
            return medium
    return None


def _is_on_scsi(vm: Vm, medium: engine.Record) -> bool:
    if medium['ResourceSubType'] != devices.HARD_DISK or (
            medium['PersistentReservationsSupported']):
        return False
    drive = vm.host.v2.by_path(medium['Parent'] or '')
    controller = vm.host.v2.by_path(
        drive['Parent'] or '') if drive is not None else None
    return controller is not None and (
        controller['ResourceSubType'] == devices.SCSI_CONTROLLER)


@contextlib.contextmanager
def writable(vdisks: VirtualDisks, handle: DiskHandle) -> Iterator[None]:
    """Let the disk of a running machine be changed inside the block.

    It is opened anew before and after, for what the machine has written.
    """
    if not handle.online:
        yield
        return
    _reopen(vdisks, handle, writable=True)
    handle.online = False
    try:
        yield
    finally:
        handle.online = True
        _reopen(vdisks, handle, writable=False)


def _reopen(vdisks: VirtualDisks, handle: DiskHandle, *, writable: bool
            ) -> None:
    if handle.disk is not None:
        vdisks.run(handle.path, handle.disk.close)
    handle.disk = vdisks.open_disk(handle.path, handle.found,
                                   writable=writable, parents=True)


def check_merge(host: Host, handle: DiskHandle) -> None:
    """Refuse to resize a file of a chain that is being merged.

    :raises WinError: 32
    """
    if not host.quirks.merge_blocks:
        return
    for vm in host.vms:
        if _MERGING in (vm.system['OperationalStatus'] or ()) and (
                handle.key in _files(host, vm)):
            raise WinError(winerror.SHARING_VIOLATION, handle.path)


def _files(host: Host, vm: Vm) -> set[typing.Any]:
    """Identities of the files of a machine's disks, parents included."""
    found = set()
    for medium in vm.media():
        if medium['ResourceSubType'] != devices.HARD_DISK:
            continue
        try:
            chain = host.vdisks.chain(medium['HostResource'][0])
        except WinError:
            continue                    # a file of it is gone
        for path in chain:
            found.add(host.storage.shares.handles.key_of(
                path, host.storage.local(path)))
    return found
