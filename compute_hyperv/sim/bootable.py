# SPDX-License-Identifier: Apache-2.0
r"""What the firmware of a virtual machine boots from.

Sources: hyperv-semantics.md sections 6 and 7 [D].

============  ==========================================================
generation 1  the device classes of ``BootOrder``, over what sits on the
              IDE controllers and in the diskette drive; never SCSI
generation 2  the drives that the entries of ``BootSourceOrder`` lead to
              by ``Msvm_LogicalIdentity``
============  ==========================================================

A hard disk counts when there is an image or a disk of the host in the
drive; its content is not looked at. A CD counts when it has the boot record
of El Torito ("Bootable CD-ROM Format Specification" 1.0, section 2.0: sector
17), so that a config drive boots nothing. Network boot (the legacy adapter
of generation 1, any adapter of generation 2) finds no server. Secure Boot
does not look at the loader.
"""

from __future__ import annotations

import typing

from . import devices
from .winerror import WinError

if typing.TYPE_CHECKING:
    from .vm import Vm
    from .wmi import engine

#: Values of BootOrder (section 4) and the drives of each class; 3, the
#: network, finds no server, and no disc is in a DVD drive of the host.
_CLASSES = {0: (devices.FLOPPY_DRIVE,), 1: (devices.DVD_DRIVE,),
            2: (devices.DISK_DRIVE, devices.PHYSICAL_DISK)}
#: Controllers that the firmware of generation 1 has a driver for.
_OF_BIOS = (devices.IDE_CONTROLLER, devices.FLOPPY_CONTROLLER)

_BOOT_RECORD_AT = 17 * 2048
#: Boot record indicator, ISO-9660 identifier, version, boot system.
_EL_TORITO = b'\0CD001\x01EL TORITO SPECIFICATION'


def source(vm: Vm) -> engine.Record | None:
    """The drive that the VM boots from, or None: there is nothing.

    :returns: the Msvm_ResourceAllocationSettingData of the drive.
    """
    drives = _by_class(vm) if vm.generation == 1 else _by_source(vm)
    return next((drive for drive in drives if _can_boot(vm, drive)), None)


def _by_class(vm: Vm) -> typing.Iterator[engine.Record]:
    there = [drive for subtype in _OF_BIOS
             for controller in vm.resources(devices.RASD, subtype)
             for drive in vm.children(controller)]
    for number in vm.settings['BootOrder'] or ():
        yield from (drive for drive in there if drive['ResourceSubType'] in
                    _CLASSES.get(number, ()))


def _by_source(vm: Vm) -> typing.Iterator[engine.Record]:
    store = vm.host.v2
    for path in vm.settings['BootSourceOrder'] or ():
        entry = store.by_path(path)
        if entry is None:
            continue
        for link in store.find('Msvm_LogicalIdentity', SameElement=entry):
            device = store.by_path(link['SystemElement'])
            if device is not None:
                yield device


def _can_boot(vm: Vm, drive: engine.Record) -> bool:
    subtype = drive['ResourceSubType']
    if subtype == devices.PHYSICAL_DISK:
        return any(drive['HostResource'] or ())
    for medium in vm.children(drive):
        for path in (medium['HostResource'] or ())[:1]:
            if path and (subtype != devices.DVD_DRIVE or
                         _has_boot_record(vm, path)):
                return True
    return False


def _has_boot_record(vm: Vm, path: str) -> bool:
    try:
        with open(vm.host.storage.local(path), 'rb') as disc:
            disc.seek(_BOOT_RECORD_AT)
            return disc.read(len(_EL_TORITO)) == _EL_TORITO
    except (OSError, WinError):
        # The share went away under the running VM: nothing can be read.
        return False
