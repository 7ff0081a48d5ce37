# SPDX-License-Identifier: Apache-2.0
"""What is on the hosts, as rows for tables (JSON)."""

from __future__ import annotations

import typing

from . import disks as disks_module
from . import handles
from . import vm as vm_module
from .disk_errors import DiskError
from .errors import Win32Error
from .host import Host

Row = typing.Dict[str, typing.Any]
GIB = 1 << 30


def hosts(found: typing.Sequence[Host]) -> typing.List[Row]:
    """One row per host."""
    rows = []
    for host in found:
        vms = list(host.vms)
        counts = host.fabric.recorder.counts(host.name)
        volumes = {letter: host.storage.volume(letter)
                   for letter in host.storage.volumes()}
        rows.append({
            'name': host.name, 'windows': host.spec.windows,
            'version': host.profile.version,
            'power': 'on' if host.powered else 'off',
            'cpus': host.spec.cpus, 'memory_mib': host.spec.memory_mib,
            'used_mib': host.vms.used_memory_mib(),
            'vms': len(vms),
            'running': sum(vm.state == vm_module.RUNNING for vm in vms),
            'volumes': {letter: [free / GIB, total / GIB]
                        for letter, (total, free) in volumes.items()},
            'calls': dict(counts)})
    return rows


def vms(found: typing.Sequence[Host]) -> typing.List[Row]:
    """One row per virtual machine."""
    return [_vm_row(vm) for host in found for vm in host.vms]


def _guest_word(vm: vm_module.Vm) -> str:
    guest = vm.worker.guest if vm.worker else None
    if guest is None:
        return ''
    if not guest.has_system:
        return 'nothing to boot from'
    return 'up' if guest.is_up else ''


def _vm_row(vm: vm_module.Vm) -> Row:
    memory = vm.memory
    return {
        'host': vm.host.name, 'name': vm.name, 'guid': vm.guid,
        'state': vm_module.state_name(vm.state),
        'uptime_s': vm.host.vms.uptime_s(vm.guid),
        'generation': vm.generation, 'version': vm.version,
        'cpus': vm.processor['VirtualQuantity'],
        'memory_mib': memory['VirtualQuantity'],
        'guest': _guest_word(vm),
        'disks': len(vm.media()), 'nics': len(_nics(vm)),
        'notes': list(vm.settings['Notes'] or ())}


def _nics(vm: vm_module.Vm) -> typing.List[typing.Any]:
    return [one for cls in ('Msvm_SyntheticEthernetPortSettingData',
                            'Msvm_EmulatedEthernetPortSettingData')
            for one in vm.resources(cls)]


def vm(found: vm_module.Vm) -> Row:
    """Everything about one virtual machine."""
    settings = found.settings
    store = found.host.v2
    devices = []
    for medium in found.media():
        drive = store.by_path(medium['Parent'] or '')
        controller = store.by_path(
            drive['Parent'] or '') if drive else None
        devices.append({
            'path': medium['HostResource'][0],
            'type': medium['ResourceSubType'].rpartition(':')[2],
            'controller': _short(controller),
            'slot': drive['AddressOnParent'] if drive else None})
    return {
        **_vm_row(found),
        'snapshots': [
            {'name': one['ElementName'], 'id': one['InstanceID'],
             'created': one['CreationTime']}
            for one in store.find('Msvm_VirtualSystemSettingData',
                                  VirtualSystemIdentifier=found.guid)
            if 'Snapshot' in (one['VirtualSystemType'] or '')],
        'secure_boot': settings['SecureBootEnabled'],
        'folder': settings['ConfigurationDataRoot'],
        'boot': _boot_order(found),
        'media': devices, 'adapters': [_nic_row(found, one)
                                       for one in _nics(found)],
        'serial': [list(one['Connection'] or ())
                   for one in found.resources('Msvm_SerialPortSettingData')]}


_BOOT_DEVICES = {0: 'floppy', 1: 'CD', 2: 'IDE', 3: 'network', 4: 'SCSI'}


def _boot_order(found: vm_module.Vm) -> typing.List[str]:
    settings = found.settings
    if found.generation == 1:
        return [_BOOT_DEVICES.get(one, str(one))
                for one in settings['BootOrder'] or ()]
    sources = [found.host.v2.by_path(path)
               for path in settings['BootSourceOrder'] or ()]
    return [one['BootSourceDescription'] or one['FirmwareDevicePath'] or
            one['InstanceID'] for one in sources if one is not None]


def _short(controller: typing.Any) -> str:
    if controller is None:
        return ''
    name = controller['ElementName'] or controller['ResourceSubType'] or ''
    return str(name).rpartition(':')[2]


def _nic_row(found: vm_module.Vm, nic: typing.Any) -> Row:
    store = found.host.v2
    ports = store.find('Msvm_EthernetPortAllocationSettingData',
                       Parent=nic.path)
    switch = ''
    for port in ports:
        for path in port['HostResource'] or ():
            record = store.by_path(path)
            switch = record['ElementName'] if record else path
    return {'name': nic['ElementName'], 'mac': nic['Address'],
            'switch': switch,
            'vlan': _vlan(store, ports[0]) if ports else None}


def _vlan(store: typing.Any, port: typing.Any) -> typing.Optional[int]:
    for one in store.under(port['InstanceID'],
                           'Msvm_EthernetSwitchPortVlanSettingData'):
        return int(one['AccessVlanId'] or 0)
    return None


def disks(found: typing.Sequence[Host]) -> typing.List[Row]:
    """One row per virtual disk that a virtual machine has."""
    return [{'host': host.name, 'vm': vm.name,
             'path': medium['HostResource'][0],
             'type': medium['ResourceSubType'].rpartition(':')[2],
             **_disk_facts(host, medium['HostResource'][0])}
            for host in found for vm in host.vms for medium in vm.media()]


def _disk_facts(host: Host, path: str) -> Row:
    """Size and kind as the file says; looks past share modes."""
    if path.lower().endswith('.iso') or path.startswith('\\\\.'):
        return {}
    try:
        with disks_module.open_disk(
                host.storage.local(path), writable=False, win_path=path,
                resolve=lambda one: host.storage.locate(one).local,
                parents=False) as disk:
            return {'format': disk.fmt, 'kind': disk.kind,
                    'size_bytes': disk.size_bytes,
                    'file_size_bytes': disk.file_size_bytes,
                    'parent': disk.parent_path}
    except (DiskError, Win32Error) as exc:
        return {'problem': str(exc)}


def switches(found: typing.Sequence[Host]) -> typing.List[Row]:
    """One row per virtual switch, with what is connected to it."""
    rows = []
    for host in found:
        for switch in host.v2.find('Msvm_VirtualEthernetSwitch'):
            connected = [
                f'{vm.name} ({nic["mac"]})' for vm in host.vms
                for nic in (_nic_row(vm, one) for one in _nics(vm))
                if nic['switch'] == switch['ElementName']]
            rows.append({'host': host.name, 'name': switch['ElementName'],
                         'guid': switch['Name'], 'connected': connected})
    return rows


def adapters(found: typing.Sequence[Host]) -> typing.List[Row]:
    """One row per virtual NIC."""
    return [{'host': host.name, 'vm': vm.name, **_nic_row(vm, nic)}
            for host in found for vm in host.vms for nic in _nics(vm)]


def jobs(found: typing.Sequence[Host]) -> typing.List[Row]:
    """One row per job that is still known, oldest first."""
    rows = []
    for host in found:
        for one in host.v2.find('CIM_ConcreteJob'):
            view = one.view()
            rows.append({
                'host': host.name, 'id': one['InstanceID'],
                'what': one['Description'] or one['ElementName'],
                'state': view.get('JobState'),
                'percent': view.get('PercentComplete'),
                'started': one['StartTime'],
                'error': view.get('ErrorDescription')})
    return rows


def sessions(found: typing.Sequence[Host]) -> typing.List[Row]:
    """Who uses the hosts: processes, subscriptions, open files."""
    rows: typing.List[Row] = []
    for host in found:
        server = host.fabric.server
        for client in server.clients() if server else ():
            if client.host is host:
                rows.append({'host': host.name, 'what': 'process',
                             'detail': f'{client.role}, pid {client.pid}'})
        rows += [{'host': host.name, 'what': 'subscription',
                  'detail': ' '.join(one.text.split())}
                 for one in host.watches]
        rows += [{'host': host.name, 'what': 'open file', 'detail': one}
                 for one in _open_files(host)]
        rows += [{'host': host.name, 'what': 'iSCSI session',
                  'detail': f'{one.login.target} at {one.login.portal}'
                            f'{"" if one.connected else ", broken"}'}
                 for one in host.initiator.sessions]
        rows += [{'host': host.name, 'what': 'pipe', 'detail': text}
                 for text in host.pipes.problems()]
    return rows


def _open_files(host: Host) -> typing.List[str]:
    table: handles.Handles = host.storage.shares.handles
    return [str(one) for letter in host.storage.volumes()
            for one in table.below(host.storage.drive(letter).root)]


VIEWS: typing.Dict[str, typing.Callable[
    [typing.Sequence[Host]], typing.List[Row]]] = {
    'hosts': hosts, 'vms': vms, 'disks': disks, 'switches': switches,
    'adapters': adapters, 'jobs': jobs, 'sessions': sessions}
