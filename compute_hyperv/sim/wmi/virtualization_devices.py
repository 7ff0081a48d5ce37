# SPDX-License-Identifier: Apache-2.0
"""Displays, RemoteFX adapters, PCI Express devices (section 14)."""

from __future__ import annotations

import typing

from .. import devices
from .. import jobs
from . import cimv2
from . import engine
from . import virtualization
from . import virtualization_rules as rules
from . import virtualization_tree as tree
from ..vm import Vm

if typing.TYPE_CHECKING:
    from ..host import Host

_DISPLAYS = frozenset((devices.SYNTHETIC_DISPLAY, devices.DISPLAY_3D))
_PCI_DEVICE = 'Msvm_PciExpress'
_GPU = 'Msvm_Physical3dGraphicsProcessor'


def populate(host: Host) -> None:
    """Devices of the host's facts.

    ``pci``: mappings of ``vendor_id`` and ``product_id`` (4 hex digits),
    ``address`` ``'dddd:bb:ss.f'``. ``gpus``: mappings of ``name`` and
    ``memory_bytes``, suitable for RemoteFX.
    """
    for facts in host.spec.extra.get('pci', ()):
        add_pci_device(host, **facts)
    for number, facts in enumerate(host.spec.extra.get('gpus', ())):
        add_gpu(host, number, **facts)


def add_gpu(host: Host, number: int, *, name: str, memory_bytes: int
            ) -> engine.Record:
    """A graphics processor that RemoteFX may use."""
    for pool in host.v2.find('Msvm_Synth3dVideoPool'):
        host.v2.update(pool, IsGPUCapable=True, DirectXVersion='11.1')
    return host.v2.add(
        _GPU, CreationClassName=_GPU, Name=name, ElementName=name,
        DeviceID='Microsoft:%s\\%d' % (devices.GPU_GUID, number),
        SystemCreationClassName=virtualization.SYSTEM,
        SystemName=host.name, EnabledForVirtualization=True,
        TotalVideoMemory=memory_bytes, AvailableVideoMemory=memory_bytes,
        DedicatedVideoMemory=memory_bytes, DirectXVersion='11.1',
        DriverVersion='1.0', EnabledState=2)


def add_pci_device(host: Host, *, vendor_id: str, product_id: str,
                   address: str) -> engine.Record:
    """A device that was dismounted on the host, ready to be assigned."""
    domain, bus, rest = address.split(':')
    slot, function = rest.split('.')
    instance = 'VEN_%s&DEV_%s&SUBSYS_00000000&REV_00\\%s' % (
        vendor_id.upper(), product_id.upper(), address.replace(':', '_'))
    path = 'PCIP\\' + instance
    cimv2.add_pnp_device(host, path, 'PCI Express device', {
        'DEVPKEY_Device_LocationInfo': 'PCI bus %d, device %d, function %d'
        % (int(bus, 16), int(domain, 16), int(function, 16)),
        'DEVPKEY_Device_Address': int(slot, 16)})
    return host.v2.add(
        _PCI_DEVICE, CreationClassName=_PCI_DEVICE,
        DeviceID='Microsoft:%s\\%s' % (devices.PCI_GUID, path),
        SystemCreationClassName=virtualization.SYSTEM,
        SystemName=host.name, ElementName='PCI Express device',
        DeviceInstancePath=path, EnabledState=2,
        LocationPath='PCIROOT(%d)#PCI(%s%02X)' % (
            int(bus, 16), slot.upper().zfill(2), int(function, 16)))


def _need_off(vm: Vm, what: str) -> None:
    if not vm.is_off and vm.host.quirks.enforce_off_only:
        raise rules.wrong_state(vm, what)


# -- displays
def _add_display(vm: Vm, props: tree.Props, others: list[tree.Addition]
                 ) -> tree.Addition:
    _need_off(vm, 'Display')
    subtype = props['ResourceSubType']
    for other in vm.resources('CIM_ResourceAllocationSettingData'):
        if other['ResourceSubType'] in _DISPLAYS:
            raise rules.invalid(vm, 'The VM has a display.')
    if subtype == devices.DISPLAY_3D:
        _check_remotefx(vm, props)
    cls = next(one.cls for one in devices.TEMPLATES
               if one.subtype == subtype)
    return tree.Addition(cls, '%s\\%s' % (
        vm.instance_id, devices.DISPLAY_GUID), props)


def _check_remotefx(vm: Vm, props: tree.Props) -> None:
    """RemoteFX needs a GPU, a Windows and a generation that have it."""
    profile = vm.host.profile
    pool = vm.host.v2.find('Msvm_Synth3dVideoPool')
    if vm.generation not in profile.remotefx_generations or (
            not pool or not pool[0]['IsGPUCapable']):
        raise jobs.JobFailure(
            '%s failed to add RemoteFX 3D Video Adapter: not supported '
            'here. (0x80070032).' % vm.describe(), jobs.NOT_SUPPORTED)
    resolution = props.get('MaximumScreenResolution', 0)
    if resolution >= len(profile.remotefx_monitors) or not (
            1 <= props.get('MaximumMonitors', 1) <=
            profile.remotefx_monitors[resolution]):
        raise rules.invalid(vm, 'So many monitors of that resolution are '
                            'not possible.')


def _check_3d(vm: Vm, record: engine.Record, changes: tree.Props
              ) -> tree.Props:
    _need_off(vm, 'RemoteFX adapter')
    _check_remotefx(vm, dict(record.props, **changes))
    return changes


def _check_display(vm: Vm, record: engine.Record, changes: tree.Props
                   ) -> tree.Props:
    _need_off(vm, 'Display')
    return changes


def _remove_display(vm: Vm, record: engine.Record) -> None:
    _need_off(vm, 'Display')


# -- discrete device assignment
def _add_pci(vm: Vm, props: tree.Props, others: list[tree.Addition]
             ) -> tree.Addition:
    """The VM is off, has fixed memory and turns off with its host."""
    _need_off(vm, 'PCI Express device')
    given = props.get('HostResource') or ('',)
    device = vm.host.v2.by_path(given[0])
    if device is None or device.cls.name != _PCI_DEVICE:
        raise rules.invalid(vm, '%s is no PCI Express device.' % given[0])
    if vm.memory['DynamicMemoryEnabled']:
        raise rules.invalid(vm, 'Dynamic memory and assigned devices.')
    if vm.settings['AutomaticShutdownAction'] != 2:
        raise rules.invalid(vm, 'The automatic shutdown action must be to '
                            'turn the virtual machine off.')
    count = len(vm.resources(devices.PCI)) + len(others)
    if count >= vm.host.profile.assigned_devices:
        raise rules.invalid(vm, 'A VM has at most %d devices.' % count)
    for other in vm.host.v2.find(devices.PCI):
        if (other['HostResource'] or ('',))[0].lower() == (
                device.path.lower()):
            raise jobs.JobFailure(
                '%s failed to add device: %s is assigned already. '
                '(0x80070020).' % (vm.describe(), device['LocationPath']),
                jobs.IN_USE)
    return tree.Addition(
        devices.PCI, '%s\\%s' % (vm.instance_id, vm.host.new_guid()),
        dict(props, HostResource=(device.path,)))


def _pci_added(vm: Vm, record: engine.Record) -> None:
    """An assigned device shows up a second time, as the VM's.

    os-win counts objects of one LocationPath to see whether a device is
    free (oswin-surface.md 3.3).
    """
    device = vm.host.v2.by_path(record['HostResource'][0])
    if device is not None:
        vm.host.v2.add(_PCI_DEVICE, **dict(
            device.props, SystemName=vm.guid, DeviceID='%s\\%s' % (
                device['DeviceID'], vm.guid)))


def _pci_removed(vm: Vm, record: engine.Record) -> None:
    device = vm.host.v2.by_path(record['HostResource'][0])
    for other in vm.host.v2.find(_PCI_DEVICE, SystemName=vm.guid):
        if device is not None and (
                other['LocationPath'] == device['LocationPath']):
            vm.host.v2.delete(other)


def _remove_pci(vm: Vm, record: engine.Record) -> None:
    _need_off(vm, 'PCI Express device')


_DISPLAY = tree.Kind(check_add=_add_display, check_modify=_check_display,
                     check_remove=_remove_display)
tree.KINDS.update({subtype: _DISPLAY for subtype in _DISPLAYS})
tree.KINDS[devices.S3_DISPLAY] = tree.Kind(check_modify=_check_display)
tree.KINDS[devices.PCI_EXPRESS] = tree.Kind(
    check_add=_add_pci, added=_pci_added, check_remove=_remove_pci,
    removed=_pci_removed)
tree.KINDS[devices.DISPLAY_3D] = tree.Kind(
    check_add=_add_display, check_modify=_check_3d,
    check_remove=_remove_display)
