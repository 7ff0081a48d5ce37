# SPDX-License-Identifier: Apache-2.0
"""Features of switch ports: VLAN, security, ACL, bandwidth, offload.

Add-, Modify- and RemoveFeatureSettings; single-instance rules and limits
of hyperv-semantics.md section 16.
"""

from __future__ import annotations

from collections.abc import Callable
import typing

from .. import devices
from .. import jobs
from . import engine
from . import network
from . import network_ports as ports
from . import virtualization
from . import virtualization_rules as rules
from . import virtualization_tree as tree
from ..vm import Vm

if typing.TYPE_CHECKING:
    from ..host import Host

V2 = virtualization.V2
SERVICE = 'Msvm_VirtualSystemManagementService'
FEATURE = 'Msvm_EthernetSwitchPortFeatureSettingData'
_P = 'Msvm_EthernetSwitchPort'
VLAN = _P + 'VlanSettingData'
SECURITY = _P + 'SecuritySettingData'
ACL = _P + 'AclSettingData'
EXTENDED_ACL = _P + 'ExtendedAclSettingData'
BANDWIDTH = _P + 'BandwidthSettingData'
OFFLOAD = _P + 'OffloadSettingData'
PROFILE = _P + 'ProfileSettingData'
ISOLATION = _P + 'IsolationSettingData'

#: Of these a port can have many; of every other feature one.
MANY = frozenset((ACL, EXTENDED_ACL, _P + 'RoutingDomainSettingData'))

#: What a feature has that the client did not set (Microsoft's schema).
DEFAULTS: dict[str, dict[str, typing.Any]] = {
    VLAN: dict(OperationMode=0, AccessVlanId=0, NativeVlanId=0, PvlanMode=0,
               PrimaryVlanId=0, SecondaryVlanId=0, PruneVlanIdArray=(),
               SecondaryVlanIdArray=(), TrunkVlanIdArray=()),
    SECURITY: dict(AllowMacSpoofing=False, EnableDhcpGuard=False,
                   EnableRouterGuard=False, MonitorMode=0, MonitorSession=0,
                   AllowIeeePriorityTag=False, VirtualSubnetId=0,
                   AllowTeaming=False, TeamName='', TeamNumber=0,
                   DynamicIPAddressLimit=0, StormLimit=0),
    ACL: dict(Name='', Direction=0, Applicability=0, AclType=0, Action=0,
              LocalAddress='', LocalAddressPrefixLength=0, RemoteAddress='',
              RemoteAddressPrefixLength=0),
    EXTENDED_ACL: dict(Name='', Direction=0, Action=0, LocalIPAddress='ANY',
                       RemoteIPAddress='ANY', LocalPort='ANY',
                       RemotePort='ANY', Protocol='ANY', Weight=0,
                       Stateful=False, IdleSessionTimeout=255,
                       IsolationID=0),
    BANDWIDTH: dict(Reservation=0, Weight=0, Limit=0, BurstLimit=0,
                    BurstSize=0),
    OFFLOAD: dict(IPSecOffloadLimit=512, VMQOffloadWeight=100,
                  IOVOffloadWeight=0, IOVQueuePairsRequested=1,
                  IOVInterruptModeration=0),
    PROFILE: dict(ProfileName='', ProfileId='', VendorName=''),
}
_NAMES = {VLAN: 'VLAN', SECURITY: 'Security', ACL: 'ACL',
          EXTENDED_ACL: 'Extended ACL', BANDWIDTH: 'Bandwidth',
          OFFLOAD: 'Offload', PROFILE: 'Profile', ISOLATION: 'Isolation'}
_MIN_RESERVATION = 10 * 1000 * 1000
_MODE_ABSOLUTE = (0, 2)


def populate(host: Host) -> None:
    """A Default definition for each feature (section 1)."""
    for cls in ports.FEATURE_IDS:
        if host.v2.classes.find(cls):
            host.v2.add(cls, InstanceID=ports.template_id(cls),
                        **_with_defaults(cls, {}))


def _with_defaults(cls: str, props: tree.Props) -> tree.Props:
    name = 'Ethernet Switch Port %s Settings' % _NAMES.get(cls, cls)
    return dict({'ElementName': name, 'Caption': name},
                **dict(DEFAULTS.get(cls, {}), **props))


class InvalidValue(Exception):
    """A value that surfaces as x_wmi with 0x80070057 in its text."""


def _in(name: str, value: typing.Any, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise InvalidValue('%s is not in %d..%d' % (name, low, high))


def _check_vlan(vm: Vm, port: engine.Record, new: tree.Props) -> None:
    _in('OperationMode', new['OperationMode'], 0, 3)
    for name in ('AccessVlanId', 'NativeVlanId', 'PrimaryVlanId',
                 'SecondaryVlanId'):
        _in(name, new[name], 0, 4094)
    for vlan in new['TrunkVlanIdArray'] or ():
        _in('TrunkVlanIdArray', vlan, 1, 4094)
    if new['OperationMode'] == 3:
        _in('PvlanMode', new['PvlanMode'], 1, 3)


def _check_acl(vm: Vm, port: engine.Record, new: tree.Props) -> None:
    _in('Direction', new['Direction'], 1, 2)
    _in('AclType', new['AclType'], 1, 3)
    _in('Action', new['Action'], 1, 3)
    _in('Applicability', new['Applicability'], 1, 2)


def _check_extended_acl(vm: Vm, port: engine.Record,
                        new: tree.Props) -> None:
    _in('Direction', new['Direction'], 1, 2)
    _in('Action', new['Action'], 1, 2)
    if not vm.host.quirks.acl_weights_unique:
        return
    for other in vm.host.v2.under(port['InstanceID'] + '\\', EXTENDED_ACL):
        if (other['Direction'], other['Weight']) == (
                new['Direction'], new['Weight']) and (
                other['InstanceID'] != new.get('InstanceID')):
            raise InvalidValue('an extended ACL of weight %d is there' %
                               new['Weight'])


def _check_bandwidth(vm: Vm, port: engine.Record, new: tree.Props) -> None:
    """Reservation in bit/s: at least 10 Mbit/s, in the right mode."""
    reservation, limit = new['Reservation'] or 0, new['Limit'] or 0
    if limit and limit < reservation:
        raise InvalidValue('Limit is below Reservation')
    if new['BurstLimit'] and new['BurstLimit'] < limit:
        raise InvalidValue('BurstLimit is below Limit')
    if reservation and vm.host.quirks.enforce_bandwidth_mode:
        if reservation < _MIN_RESERVATION:
            raise InvalidValue('Reservation is below 10 Mbit/s')
        switch = ports.switch_of(vm, port.props)
        if switch is not None and network.settings_of(vm.host, switch)[
                'BandwidthReservationMode'] not in _MODE_ABSOLUTE:
            raise InvalidValue('the switch has no absolute reservations')


def _check_offload(vm: Vm, port: engine.Record, new: tree.Props) -> None:
    _in('IOVOffloadWeight', new['IOVOffloadWeight'], 0, 100)
    _in('VMQOffloadWeight', new['VMQOffloadWeight'], 0, 100)
    if new['IOVQueuePairsRequested'] == 0:
        raise InvalidValue('IOVQueuePairsRequested is 0')


_CHECKS: dict[str, Callable[[Vm, engine.Record, tree.Props], None]] = {
    VLAN: _check_vlan, ACL: _check_acl, EXTENDED_ACL: _check_extended_acl,
    BANDWIDTH: _check_bandwidth, OFFLOAD: _check_offload,
}


def _check(vm: Vm, port: engine.Record, cls: str, new: tree.Props) -> None:
    """Raise x_wmi with 0x80070057 for a value that cannot be."""
    check = _CHECKS.get(cls)
    if check is None:
        return
    try:
        check(vm, port, new)
    except InvalidValue as exc:
        engine.fail(0x80070057, 'Failed to change the %s settings of port '
                    "'%s': %s" % (_NAMES[cls], port['ElementName'], exc))


def _port_of(host: Host, instance_id: str) -> engine.Record | None:
    r"""The connection above ``<port InstanceID>\<feature>\<GUID>``."""
    parts = instance_id.rsplit('\\', 2)
    return host.v2.get(devices.PORT, InstanceID=parts[0])


@engine.method(V2, SERVICE, 'AddFeatureSettings')
def add_feature_settings(call: engine.Call) -> dict[str, typing.Any] | int:
    """Add features to a port of a VM."""
    host = call.host
    port = call.args['AffectedConfiguration']
    if port is None or port.cls.name != devices.PORT:
        return host.quirks.invalid_parameter_code
    vm = host.vms.of(port)
    if vm is None:
        return host.quirks.invalid_parameter_code
    parsed = [host.v2.parse_text(text)
              for text in call.args['FeatureSettings'] or ()]
    for each in parsed:
        if not each.cls.is_a(FEATURE) or (
                each.cls.name not in ports.FEATURE_IDS):
            return host.quirks.invalid_parameter_code
    try:
        rules.need_settled(vm)
    except rules.Refused as exc:
        return exc.code
    made: list[engine.Record] = []
    for each in parsed:
        cls = each.cls.name
        if _single_taken(host, port, cls):
            _remove(host, made)
            return host.quirks.invalid_parameter_code
        new = _with_defaults(cls, {
            name: value for name, value in each.props.items()
            if value is not None and name != 'InstanceID'})
        try:
            _check(vm, port, cls, new)
        except engine.x_wmi:
            _remove(host, made)
            raise
        made.append(ports.add_feature(vm, port, cls, new))
    return {'ResultingFeatureSettings': tuple(one.path for one in made)}


def _single_taken(host: Host, port: engine.Record, cls: str) -> bool:
    return (host.quirks.single_instance_features and cls not in MANY and
            bool(host.v2.under(port['InstanceID'] + '\\', cls)))


def _remove(host: Host, made: typing.Iterable[engine.Record]) -> None:
    for record in made:
        tree.remove_record(host, record)


@engine.method(V2, SERVICE, 'ModifyFeatureSettings')
def modify_feature_settings(call: engine.Call
                            ) -> dict[str, typing.Any] | int:
    """Change features of ports."""
    host = call.host
    planned: list[tuple[engine.Record, tree.Props]] = []
    for text in call.args['FeatureSettings'] or ():
        parsed = host.v2.parse_text(text)
        record = host.v2.get(parsed.cls.name,
                             InstanceID=parsed.get('InstanceID') or '')
        port = _port_of(host, record['InstanceID']) if record else None
        vm = host.vms.of(port) if port is not None else None
        if record is None or port is None or vm is None:
            return host.quirks.invalid_parameter_code
        try:
            rules.need_settled(vm)
        except rules.Refused as exc:
            return exc.code
        changes = rules.changed(record, parsed.props)
        _check(vm, port, record.cls.name, dict(record.props, **changes))
        planned.append((record, changes))
    for record, changes in planned:
        host.v2.update(record, **changes)
    return {'ResultingFeatureSettings': tuple(
        record.path for record, _changes in planned)}


@engine.method(V2, SERVICE, 'RemoveFeatureSettings')
def remove_feature_settings(call: engine.Call
                            ) -> dict[str, typing.Any] | int:
    """Remove features from ports; offload settings stay with the port."""
    records = call.args['FeatureSettings'] or ()
    quirks = call.host.quirks
    for record in records:
        vm = call.host.vms.of(record)
        if vm is None or not record.cls.is_a(FEATURE) or (
                _port_of(call.host, record['InstanceID']) is None):
            return quirks.invalid_parameter_code
        if record.cls.name == OFFLOAD and quirks.offload_settings_stay:
            return jobs.NOT_SUPPORTED
        try:
            rules.need_settled(vm)
        except rules.Refused as exc:
            return exc.code
    _remove(call.host, records)
    return 0
