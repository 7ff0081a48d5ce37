# SPDX-License-Identifier: Apache-2.0
"""Network adapters of VMs and their connections to switches.

The adapter (Msvm_SyntheticEthernetPortSettingData) and the connection
(Msvm_EthernetPortAllocationSettingData) persist; the port of the switch
exists only while the VM runs (hyperv-semantics.md section 16).
"""

from __future__ import annotations

import re
import typing

from .. import devices
from .. import jobs
from .. import vm as vms
from .. import worker as workers
from . import engine
from . import network
from . import virtualization_power as power
from . import virtualization_rules as rules
from . import virtualization_tree as tree
from ..vm import Vm

_NO_MAC = '000000000000'
_MAC = re.compile('[0-9A-F]{12}$')


# -- adapters
def _check_mac(vm: Vm, props: tree.Props) -> tree.Props:
    address = props.get('Address')
    if not props.get('StaticMacAddress') or address is None:
        return props
    address = re.sub('[-:]', '', address).upper()
    if not _MAC.match(address) or int(address[1], 16) & 1 or (
            address == _NO_MAC):
        raise rules.invalid(vm, '%s is no address of an adapter.' % address)
    if not vm.host.quirks.equal_macs_allowed and any(
            nic['Address'] == address and
            nic['InstanceID'] != props.get('InstanceID')
            for cls in (devices.NIC, devices.LEGACY_NIC)
            for nic in vm.host.v2.find(cls)):
        raise rules.invalid(vm, '%s is in use.' % address)
    return dict(props, Address=address)


def _add_nic(vm: Vm, props: tree.Props, others: list[tree.Addition]
             ) -> tree.Addition:
    legacy = props['ResourceSubType'] == devices.EMULATED_NIC
    _need_nic_state(vm, 'Network adapter')
    cls = devices.LEGACY_NIC if legacy else devices.NIC
    if legacy and vm.generation == 2:
        raise rules.invalid(vm, 'Generation 2 has no legacy adapters.')
    count = len(vm.resources(cls)) + sum(
        1 for one in others if one.cls == cls)
    limit = (vm.host.profile.legacy_nics if legacy else
             vm.host.profile.max_nics(vm.version))
    if count >= limit:
        raise rules.invalid(vm, 'A VM has at most %d of these adapters.' %
                            limit)
    given = props.get('VirtualSystemIdentifiers') or ()
    guid = str(given[0]).strip('{}').upper() if given else (
        vm.host.new_guid())
    instance_id = '%s\\%s' % (vm.instance_id, guid)
    if vm.host.v2.get(cls, InstanceID=instance_id) or (
            tree.same_slot(others, instance_id)):
        raise rules.invalid(vm, 'There is an adapter %s.' % guid)
    return tree.Addition(cls, instance_id, _check_mac(vm, props))


def _need_nic_state(vm: Vm, what: str) -> None:
    """Adapters come and go while running on 2016+ and generation 2."""
    hot = (vm.host.profile.is_2016 and vm.generation == 2 and
           vm.state in (vms.RUNNING, vms.PAUSED))
    if not vm.is_off and not hot and vm.host.quirks.enforce_off_only:
        raise rules.wrong_state(vm, what)


def _nic_added(vm: Vm, record: engine.Record) -> None:
    tree.add_boot_source(
        vm, record, 2, 'EFI Network',
        '\\AcpiEx(VMBus,0,0)\\VenHw(NIC,%s)\\MAC(%s)' % (
            record['InstanceID'].rsplit('\\', 1)[1], record['Address']))
    if vm.worker is not None or not vm.host.quirks.mac_at_first_start:
        _give_mac(vm, record)


def _modify_nic(vm: Vm, record: engine.Record, changes: tree.Props
                ) -> tree.Props:
    if {'Address', 'StaticMacAddress'} & set(changes) and (
            not vm.is_off and vm.host.quirks.mac_fixed_unless_off):
        raise rules.wrong_state(vm, 'MAC address')
    new = _check_mac(vm, dict(record.props, **changes))
    return rules.changed(record, {name: new[name] for name in changes})


def _remove_nic(vm: Vm, record: engine.Record) -> None:
    _need_nic_state(vm, 'Network adapter')


def _nic_removed(vm: Vm, record: engine.Record) -> None:
    for connection in vm.children(record):
        _disconnect(vm, connection)
    tree.remove_boot_source(vm, record)


def _give_mac(vm: Vm, record: engine.Record) -> None:
    """Dynamic addresses are drawn at the first start (section 16)."""
    if not record['StaticMacAddress'] and (
            record['Address'] in (None, '', _NO_MAC)):
        vm.host.v2.update(record, Address=vm.host.vms.new_mac())


# -- connections
def switch_of(vm: Vm, props: typing.Mapping[str, typing.Any]
              ) -> engine.Record | None:
    """The switch that a connection leads to, or None."""
    given = props.get('HostResource') or ()
    record = vm.host.v2.by_path(given[0]) if given and given[0] else None
    if record is not None and record.cls.name != network.SWITCH:
        return None
    return record


def _checked(vm: Vm, props: tree.Props) -> tree.Props:
    given = props.get('HostResource') or ()
    if not given or not given[0]:
        return props
    switch = switch_of(vm, props)
    if switch is None:
        raise rules.invalid(vm, '%s is no virtual switch.' % given[0])
    return dict(props, HostResource=(switch.path,),
                LastKnownSwitchName=switch['ElementName'])


def _add_connection(vm: Vm, props: tree.Props, others: list[tree.Addition]
                    ) -> tree.Addition:
    nic = tree.parent_of(vm, props)
    if nic.cls.name not in (devices.NIC, devices.LEGACY_NIC):
        raise rules.invalid(vm, '%s is no network adapter.' % nic.path)
    instance_id = nic['InstanceID'] + '\\C'
    if vm.children(nic) or tree.same_slot(others, instance_id):
        raise rules.invalid(vm, 'The adapter has a connection.')
    return tree.Addition(devices.PORT, instance_id, _checked(
        vm, dict({'EnabledState': 2}, **dict(props, Parent=nic.path))))


def _connection_added(vm: Vm, record: engine.Record) -> None:
    add_port_features(vm, record)
    _connect(vm, record)


def add_port_features(vm: Vm, record: engine.Record) -> None:
    """Offload settings come with the port (section 16, [U])."""
    from_template = vm.host.v2.find_one(
        'Msvm_EthernetSwitchPortOffloadSettingData',
        InstanceID=template_id('Msvm_EthernetSwitchPortOffloadSettingData'))
    if from_template is not None:
        add_feature(vm, record, from_template.cls.name, from_template.props)


def template_id(cls: str) -> str:
    """InstanceID of the Default definition of a feature class."""
    return 'Microsoft:Definition\\%s\\Default' % FEATURE_IDS[cls].upper()


def add_feature(vm: Vm, connection: engine.Record, cls: str,
                props: tree.Props) -> engine.Record:
    """Put a feature below a connection and link the two."""
    record = vm.host.v2.add(cls, **dict(
        props, InstanceID='%s\\%s\\%s' % (
            connection['InstanceID'], FEATURE_IDS[cls].upper(),
            vm.host.new_guid())))
    vm.host.v2.add('Msvm_EthernetPortSettingDataComponent',
                   GroupComponent=connection, PartComponent=record)
    return record


def _lasts(vm: Vm) -> bool:
    """Whether ports of a switch exist also while the VM is off."""
    return not vm.host.quirks.port_only_while_running and not vm.is_planned


def _connect(vm: Vm, record: engine.Record) -> None:
    """Make the port of a running VM.

    :raises JobFailure: the switch is gone
    """
    worker = vm.worker
    if worker is None and not _lasts(vm) or vm.host.v2.find(
            'Msvm_SettingsDefineState', SettingData=record):
        return
    if record['EnabledState'] == 3 or not (record['HostResource'] and
                                           record['HostResource'][0]):
        return
    switch = switch_of(vm, record.props)
    if switch is None:
        raise jobs.JobFailure(
            "%s failed to start: could not find switch '%s'. (0x80070490)."
            % (vm.describe(), record.get('LastKnownSwitchName') or
               record['HostResource'][0]))
    port = network.add_port(vm.host, switch['Name'], record['ElementName'],
                            vm.host.new_guid())
    if worker is not None and not _lasts(vm):
        worker.records.append(port)
    vm.host.v2.add('Msvm_SettingsDefineState', ManagedElement=port,
                   SettingData=record)


def _disconnect(vm: Vm, record: engine.Record) -> None:
    worker = vm.worker
    store = vm.host.v2
    for link in store.find('Msvm_SettingsDefineState', SettingData=record):
        port = store.by_path(link['ManagedElement'])
        store.delete(link)
        if port is None:
            continue
        if worker is not None and port in worker.records:
            worker.records.remove(port)
        store.delete(port)


def _reconnect(vm: Vm, record: engine.Record,
               changes: tree.Props) -> None:
    _disconnect(vm, record)
    _connect(vm, record)


def _modify_connection(vm: Vm, record: engine.Record, changes: tree.Props
                       ) -> tree.Props:
    if 'Parent' in changes:
        raise engine.NotSimulated('moving a connection to another adapter')
    return _checked(vm, changes)


def _removable(_vm: Vm, _record: engine.Record) -> None:
    """Connections come and go in every state."""


def _power_on(vm: Vm, worker: workers.Worker) -> None:
    for cls in (devices.NIC, devices.LEGACY_NIC):
        for nic in vm.resources(cls):
            _give_mac(vm, nic)
    for connection in vm.resources(devices.PORT):
        _connect(vm, connection)


def _power_off(vm: Vm, worker: workers.Worker) -> None:
    for connection in vm.resources(devices.PORT) if (
            not _lasts(vm)) else ():
        _disconnect(vm, connection)


power.UP.append(_power_on)
power.DOWN.append(_power_off)

_NIC = tree.Kind(check_add=_add_nic, added=_nic_added,
                 check_modify=_modify_nic, check_remove=_remove_nic,
                 removed=_nic_removed)
tree.KINDS[devices.SYNTHETIC_NIC] = _NIC
tree.KINDS[devices.EMULATED_NIC] = _NIC
tree.KINDS[devices.ETHERNET_CONNECTION] = tree.Kind(
    check_add=_add_connection, added=_connection_added,
    check_modify=_modify_connection, modified=_reconnect,
    check_remove=_removable, removed=_disconnect)

#: Feature GUIDs: next to last component of a feature's InstanceID
#: (``feature_id`` in Microsoft's schema).
FEATURE_IDS: dict[str, str] = {
    'Msvm_EthernetSwitchPortAclSettingData':
        '998BEF4A-5D55-492A-9C43-8B2F5EAE9F2B',
    'Msvm_EthernetSwitchPortBandwidthSettingData':
        '24AD3CE1-69BD-4978-B2AC-DAAD389D699C',
    'Msvm_EthernetSwitchPortExtendedAclSettingData':
        'CD168FF0-A16D-4514-B7B5-8BBBA791A928',
    'Msvm_EthernetSwitchPortIsolationSettingData':
        '83AF2CCB-72C9-4479-A285-94E58A98CAA6',
    'Msvm_EthernetSwitchPortOffloadSettingData':
        'C885BFD1-ABB7-418F-8163-9F379C9F7166',
    'Msvm_EthernetSwitchPortProfileSettingData':
        '9940CD46-8B06-43BB-B9D5-93D50381FD56',
    'Msvm_EthernetSwitchPortRdmaSettingData':
        '7A498FC4-8572-4FDC-92AB-7A6FC7042D53',
    'Msvm_EthernetSwitchPortRoutingDomainSettingData':
        'BF874DF0-F729-4312-A0FA-194271B88990',
    'Msvm_EthernetSwitchPortSecuritySettingData':
        '776E0BA7-94A1-41C8-8F28-951F524251B5',
    'Msvm_EthernetSwitchPortTeamMappingSettingData':
        '8D45D4BD-8C18-435C-98A7-D632A7C618FF',
    'Msvm_EthernetSwitchPortVlanSettingData':
        '952C5004-4465-451C-8CB8-FA9AB382B773',
}
