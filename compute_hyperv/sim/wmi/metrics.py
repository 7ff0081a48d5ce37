# SPDX-License-Identifier: Apache-2.0
"""Resource metering (hyperv-semantics.md section 12).

Values exist only while metering is enabled for an element. They move with
the time that the VM has been running since: see :data:`DEFINITIONS`.
"""

from __future__ import annotations

import dataclasses
import typing
import uuid

from .. import devices
from . import engine
from . import values
from . import virtualization
from ..vm import SYSTEM
from ..vm import Vm

if typing.TYPE_CHECKING:
    from ..host import Host

V2 = virtualization.V2
SERVICE = 'Msvm_MetricService'
ENABLE, DISABLE, RESET = 2, 3, 4
NOT_SUPPORTED, FAILED = 1, 2
_ACL = 'Msvm_EthernetSwitchPortAclSettingData'
_DEFINED = 'Msvm_MetricDefForME'
_METER = 3                      #: Action of an ACL that counts


@dataclasses.dataclass(frozen=True, slots=True)
class Definition:
    """A metric: for which elements, and how its value moves."""

    name: str
    subject: str            #: class of the elements that have it
    per_s: float = 0.0      #: growth for each second that the VM runs
    aggregated: bool = False
    direction: int = 0      #: of the ACL that counts: 1 in, 2 out
    units: str = 'MB'

    @property
    def id(self) -> str:
        """Identity: the same on every host."""
        return 'Microsoft:%s' % str(uuid.uuid5(
            uuid.NAMESPACE_OID, self.name)).upper()


#: Names as Hyper-V has them; those that os-win uses are all here.
DEFINITIONS = (
    Definition('Aggregated Average CPU Utilization', SYSTEM,
               aggregated=True, units='MHz'),
    Definition('Aggregated Average Memory Utilization', SYSTEM,
               aggregated=True),
    Definition('Aggregated Maximum Memory Utilization', SYSTEM,
               aggregated=True),
    Definition('Aggregated Minimum Memory Utilization', SYSTEM,
               aggregated=True),
    Definition('Filtered Incoming Network Traffic', devices.PORT, 0.02,
               direction=1),
    Definition('Filtered Outgoing Network Traffic', devices.PORT, 0.01,
               direction=2),
    Definition('Disk Data Read', devices.SASD, 0.05),
    Definition('Disk Data Written', devices.SASD, 0.03),
    Definition('Average Disk Latency', devices.SASD, units='1/100 ms'),
    Definition('Average Normalized Disk Throughput', devices.SASD,
               units='IOPS'),
)
_BY_ID = {definition.id: definition for definition in DEFINITIONS}
_MEMORY_NAMES = frozenset(one.name for one in DEFINITIONS
                          if 'Memory' in one.name)
_CPU_LOAD = 0.03
_IDLE_LATENCY, _IDLE_IOPS = 120, 8


def populate(host: Host) -> None:
    """The metric definitions."""
    for one in DEFINITIONS:
        host.v2.add('Msvm_AggregationMetricDefinition' if one.aggregated
                    else 'Msvm_BaseMetricDefinition', Id=one.id,
                    ElementName=one.name, Name=one.name, Units=one.units,
                    DataType=13, IsContinuous=True)


@engine.method(V2, SERVICE, 'ControlMetrics')
def control_metrics(call: engine.Call) -> int:
    """Enable, disable or reset metrics of an element.

    A subject alone stands for all of its metrics, a definition alone for
    all elements that have it (section 12).

    :returns: 2 for neither, for a definition that the element does not
        have, for an unknown request
    """
    subject = call.args['Subject']
    definition = call.args['Definition']
    request = call.args['MetricCollectionEnabled']
    if request not in (ENABLE, DISABLE, RESET) or (
            subject is None and definition is None):
        return FAILED
    subjects = _subjects(call.host) if subject is None else [subject]
    wanted = [(element, one) for element in subjects for one in DEFINITIONS
              if element.cls.is_a(one.subject) and (
                  definition is None or definition['Id'] == one.id)]
    if not wanted and (subject is not None or
                       definition['Id'] not in _BY_ID):
        return FAILED
    for element, one in wanted:
        vm = call.host.vms.of(element)
        if vm is None:
            return FAILED               # the host itself
        for measured_one in _elements(vm, element, one):
            if request in (DISABLE, RESET):
                _disable(vm, measured_one, one)
            if request in (ENABLE, RESET):
                _enable(vm, measured_one, one)
    return 0


def _subjects(host: Host) -> list[engine.Record]:
    """Everything of the VMs of a host that can be measured."""
    return [element for vm in host.vms for element in (
        vm.system, *vm.resources(devices.PORT),
        *vm.resources(devices.SASD))]


@engine.live(V2, _DEFINED)
def definitions_of_elements(host: Host) -> None:
    """Which metrics each element has, and whether they are collected."""
    store = host.v2
    records = {record['Id']: record
               for record in store.find('CIM_BaseMetricDefinition')}
    for element in _subjects(host):
        vm = host.vms.of(element)
        for one in DEFINITIONS if vm is not None else ():
            if vm is None or not element.cls.is_a(one.subject):
                continue
            state = ENABLE if any(
                _value_of(vm, each, one) is not None
                for each in _elements(vm, element, one)) else DISABLE
            ends = {'Antecedent': element, 'Dependent': records[one.id]}
            found = store.find(_DEFINED, **ends)
            if not found:
                store.add(_DEFINED, MetricCollectionEnabled=state, **ends)
            elif found[0]['MetricCollectionEnabled'] != state:
                store.update(found[0], MetricCollectionEnabled=state)


def _elements(vm: Vm, subject: engine.Record, definition: Definition
              ) -> list[engine.Record]:
    """What the values hang on: for ports their metering ACLs."""
    if not definition.direction:
        return [subject]
    return [acl for acl in vm.host.v2.under(subject['InstanceID'], _ACL)
            if acl['Action'] == _METER and
            acl['Direction'] == definition.direction]


def _value_id(vm: Vm, element: engine.Record, definition: Definition
              ) -> str:
    base = (vm.instance_id + '\\Metrics' if element.cls.name == SYSTEM
            else element['InstanceID'])
    return '%s\\%s' % (base, definition.id[len('Microsoft:'):])


def _enable(vm: Vm, element: engine.Record, definition: Definition) -> None:
    store = vm.host.v2
    cls = ('Msvm_AggregationMetricValue' if definition.aggregated else
           'Msvm_BaseMetricValue')
    instance_id = _value_id(vm, element, definition)
    if store.get(cls, InstanceID=instance_id) is not None:
        return
    value = store.add(
        cls, InstanceID=instance_id, ElementName=definition.name,
        MetricDefinitionId=definition.id, MetricValue='0',
        MeasuredElementName=element['ElementName'], Volatile=False,
        BreakdownDimension='', BreakdownValue='',
        TimeStamp=values.cim_datetime(vm.host.clock.time()))
    store.add('Msvm_MetricForME', Antecedent=element, Dependent=value)
    vm.host.vms.meters[instance_id] = vm.host.vms.run_time_s(vm.guid)


def _value_of(vm: Vm, element: engine.Record, definition: Definition
              ) -> engine.Record | None:
    """The value of a metric; None while it is not collected."""
    return vm.host.v2.get(
        'Msvm_AggregationMetricValue' if definition.aggregated else
        'Msvm_BaseMetricValue',
        InstanceID=_value_id(vm, element, definition))


def _disable(vm: Vm, element: engine.Record, definition: Definition
             ) -> None:
    store = vm.host.v2
    instance_id = _value_id(vm, element, definition)
    value = _value_of(vm, element, definition)
    if value is None:
        return
    for link in store.referring(value):
        store.delete(link)
    store.delete(value)
    vm.host.vms.meters.pop(instance_id, None)


@engine.computed(V2, 'CIM_BaseMetricValue', 'MetricValue', 'TimeStamp')
def measured(host: Host, record: engine.Record) -> dict[str, typing.Any]:
    """The value now, as text."""
    definition = _BY_ID[record['MetricDefinitionId']]
    vm = host.vms.of(record)
    if vm is None:
        return {}
    spent_s = host.vms.run_time_s(vm.guid) - host.vms.meters.get(
        record['InstanceID'], 0.0)
    return {'MetricValue': str(_value(vm, definition, spent_s)),
            'TimeStamp': values.cim_datetime(host.clock.time())}


def _value(vm: Vm, definition: Definition, spent_s: float) -> int:
    """The value of a metric *spent_s* seconds of running after it began."""
    if definition.per_s:
        return int(definition.per_s * spent_s)
    worker = vm.worker
    if worker is None:
        return 0
    if definition.name in _MEMORY_NAMES:
        return sum(worker.memory_mib.values())
    if definition.units == 'MHz':
        mhz = int(vm.host.spec.extra.get('cpu_mhz', 2400))
        return int(vm.processor['VirtualQuantity'] * mhz * _CPU_LOAD) + (
            int(spent_s) % 7)
    return (_IDLE_IOPS if definition.units == 'IOPS' else
            _IDLE_LATENCY) + int(spent_s) % 3
