# SPDX-License-Identifier: Apache-2.0
"""Which settings may change when, and which values they take.

The tables are those of hyperv-semantics.md section 4 ("When may a setting
be changed?"), 5 (processor and memory), 7 (boot) and 18 (limits).
"""

from __future__ import annotations

import re
import typing

from .. import jobs
from .. import profiles
from . import virtualization
from ..vm import Vm

if typing.TYPE_CHECKING:
    from . import engine


class Refused(Exception):
    """A request that Hyper-V answers with a return code.

    :ivar code: the ReturnValue
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


#: Properties of Msvm_VirtualSystemSettingData that need the VM off.
OFF_ONLY_SYSTEM = frozenset((
    'ConfigurationDataRoot', 'SnapshotDataRoot', 'SwapFileDataRoot',
    'SuspendDataRoot', 'LogDataRoot', 'GuestStateDataRoot',
    'SecureBootEnabled', 'SecureBootTemplateId', 'BootSourceOrder',
    'BootOrder', 'ConsoleMode', 'VirtualNumaEnabled', 'ChassisAssetTag',
    'BIOSGUID', 'BIOSSerialNumber', 'BaseBoardSerialNumber',
    'ChassisSerialNumber', 'BIOSNumLock', 'LockOnDisconnect',
    'LowMmioGapSize', 'HighMmioGapSize', 'GuestControlledCacheTypes',
    'AllowFullSCSICommandSet', 'NetworkBootPreferredProtocol',
    'PauseAfterBootFailure', 'EnableHibernation',
))
#: Never changed through ModifySystemSettings.
FIXED_SYSTEM = frozenset((
    'InstanceID', 'VirtualSystemIdentifier', 'VirtualSystemType',
    'VirtualSystemSubType', 'ConfigurationID', 'CreationTime', 'Version',
    'Parent', 'IsSaved', 'ConfigurationFile', 'GuestStateFile',
    'IsAutomaticSnapshot', 'Architecture',
))
OFF_ONLY_PROCESSOR = frozenset((
    'VirtualQuantity', 'LimitProcessorFeatures', 'LimitCPUID',
    'MaxProcessorsPerNumaNode', 'MaxNumaNodesPerSocket',
    'ExposeVirtualizationExtensions', 'HwThreadsPerCore',
    'EnablePerfmonPmu', 'HideHypervisorPresent',
))
OFF_ONLY_MEMORY = frozenset((
    'DynamicMemoryEnabled', 'MaxMemoryBlocksPerNumaNode', 'SgxEnabled',
    'SgxSize',
))

_GUID = re.compile('[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$')
_ENUMS: dict[str, frozenset[int]] = {
    'AutomaticStartupAction': frozenset((2, 3, 4)),
    'AutomaticShutdownAction': frozenset((2, 3, 4)),
    'AutomaticRecoveryAction': frozenset((2, 3, 4)),
    'AutomaticCriticalErrorAction': frozenset((0, 1)),
    'UserSnapshotType': frozenset((2, 3, 4, 5)),
    'NetworkBootPreferredProtocol': frozenset((4096, 4097)),
    'EnhancedSessionTransportType': frozenset((0, 1)),
}


def invalid(vm_or_host: typing.Any, text: str) -> Refused:
    """An invalid parameter: 32773, or 4 (field knowledge)."""
    host = getattr(vm_or_host, 'host', vm_or_host)
    return Refused(host.quirks.invalid_parameter_code, text)


def wrong_state(vm: Vm, what: str) -> Refused:
    """Something that the VM's state does not allow."""
    return Refused(vm.host.quirks.invalid_state_code,
                   '%s of %s cannot be changed in its state %d.' % (
                       what, vm.describe(), vm.state))


def changed(record: engine.Record, props: dict[str, typing.Any]
            ) -> dict[str, typing.Any]:
    """What *props* would change; null means "as it is".

    The serialized text of an instance carries every property; those
    without a value are not a request to clear.
    """
    return {name: value for name, value in props.items()
            if value is not None and record.get(name) != value}


def need_settled(vm: Vm) -> None:
    """Refuse changes of a VM that is being moved: 32775."""
    if vm.host.quirks.fixed_while_moving and vm.host.jobs.running_on(
            vm.system, jobs.MOVE, jobs.MOVE_ALL, jobs.MOVE_STORAGE):
        raise Refused(jobs.INVALID_STATE,
                      '%s is being moved.' % vm.describe())


def need_off(vm: Vm, names: typing.Iterable[str],
             off_only: frozenset[str]) -> None:
    """Refuse off-only changes of a VM that is not off."""
    if vm.is_off or not vm.host.quirks.enforce_off_only:
        return
    for name in names:
        if name in off_only:
            raise wrong_state(vm, name)


def new_identity(host: typing.Any, given: str | None) -> str:
    """The GUID of a VM that is being defined.

    :param given: VirtualSystemIdentifier, when the caller chose one
    :raises Refused: it is no GUID, or something has it already
    """
    if not given:
        return str(host.new_guid())
    guid = given.upper()
    if not _GUID.match(guid):
        raise invalid(host, '%s is no GUID.' % given)
    if host.v2.under('Microsoft:' + guid):
        raise invalid(host, 'There is a virtual machine %s.' % guid)
    return guid


def check_assigned(vm: Vm, changes: dict[str, typing.Any]) -> None:
    """What a VM with an assigned device cannot have (section 14).

    :raises Refused: dynamic memory, or another automatic shutdown action
        than turning off
    """
    if not (changes.get('DynamicMemoryEnabled') or changes.get(
            'AutomaticShutdownAction', 2) != 2):
        return
    if vm.resources('Msvm_PciExpressSettingData'):
        raise invalid(vm, 'The VM has an assigned device: %s.' %
                      sorted(changes))


def check_system(host: typing.Any, generation: int, version: str,
                 changes: dict[str, typing.Any]) -> None:
    """Check values of a Msvm_VirtualSystemSettingData.

    :param version: configuration version of the VM
    :raises Refused: invalid parameter
    """
    for name, allowed in _ENUMS.items():
        if changes.get(name) is not None and changes[name] not in allowed:
            raise invalid(host, '%s cannot be %s.' % (name, changes[name]))
    order = changes.get('BootOrder')
    if order is not None and (
            len(order) != 4 or len(set(order)) != 4 or
            not set(order) <= set(range(5))):
        raise invalid(host, 'BootOrder needs 4 distinct device classes.')
    if generation == 1:
        for name in ('SecureBootEnabled', 'SecureBootTemplateId',
                     'BootSourceOrder'):
            if changes.get(name):
                raise invalid(host, '%s needs generation 2.' % name)
    if changes.get('SecureBootTemplateId') and not profiles.allows(
            version, 'linux_secure_boot'):
        raise invalid(host, 'SecureBootTemplateId needs version 6.2.')
    if changes.get('EnableHibernation') and not profiles.allows(
            version, 'hibernation'):
        raise invalid(host, 'Hibernation needs version 9.0.')
    _check_template(host, changes.get('SecureBootTemplateId'))


def _check_template(host: typing.Any, template: str | None) -> None:
    if template and template.lower() not in (
            virtualization.SECURE_BOOT.values()):
        raise invalid(host, 'There is no Secure Boot template %s.' %
                      template)


def check_boot_sources(vm: Vm, order: tuple[str, ...]) -> tuple[str, ...]:
    """Boot sources in their stored spelling.

    :param order: object paths, in any spelling of letters
    :raises Refused: not a boot source of this VM, or named twice
    """
    found = []
    for path in order:
        record = vm.host.v2.by_path(path)
        if record is None or record not in vm.resources(
                'Msvm_BootSourceSettingData'):
            raise invalid(vm, '%s is no boot source.' % path)
        if record.path in found:
            raise invalid(vm, '%s is in the boot order twice.' % path)
        found.append(record.path)
    return tuple(found)


def check_processor(vm: Vm, record: engine.Record,
                    changes: dict[str, typing.Any]) -> None:
    """Check a change of the processor (sections 4, 5 and 18)."""
    need_off(vm, changes, OFF_ONLY_PROCESSOR)
    host = vm.host
    new = dict(record.props, **changes)
    if not 1 <= new['VirtualQuantity'] <= host.profile.max_vcpus(
            vm.generation, vm.version):
        raise invalid(vm, '%d virtual processors are not possible.' %
                      new['VirtualQuantity'])
    if host.quirks.vcpus_within_host and (
            changes.get('VirtualQuantity', 0) > host.spec.cpus):
        raise invalid(vm, 'The host has %d logical processors.' %
                      host.spec.cpus)
    for name in ('Reservation', 'Limit'):
        if not 0 <= new[name] <= 100000:
            raise invalid(vm, '%s is in 0..100000.' % name)
    if new['Reservation'] > new['Limit']:
        raise invalid(vm, 'Reservation is above Limit.')
    if not 0 <= new['Weight'] <= 10000:
        raise invalid(vm, 'Weight is in 0..10000.')
    if new['MaxProcessorsPerNumaNode'] < 1:
        raise invalid(vm, 'MaxProcessorsPerNumaNode is at least 1.')
    if changes.get('ExposeVirtualizationExtensions') and not vm.allows(
            'nested'):
        raise invalid(vm, 'Nested virtualization needs version 8.0.')
    if changes.get('EnablePerfmonPmu') and not vm.allows('pmu'):
        raise invalid(vm, 'The performance monitor needs version 9.0.')


def check_memory(vm: Vm, record: engine.Record,
                 changes: dict[str, typing.Any]) -> dict[str, typing.Any]:
    """Check a change of the memory; returns what is stored.

    Static memory: Reservation and Limit follow VirtualQuantity.
    """
    need_off(vm, changes, OFF_ONLY_MEMORY)
    check_assigned(vm, changes)
    new = dict(record.props, **changes)
    if not vm.is_off and vm.host.quirks.enforce_off_only:
        _check_hot_memory(vm, record, changes)
    if not new['DynamicMemoryEnabled']:
        new['Reservation'] = new['Limit'] = new['VirtualQuantity']
    _check_quantities(vm, new)
    if new['Limit'] > vm.host.profile.max_memory_mib(
            vm.generation, vm.version):
        raise invalid(vm, '%d MB are too much memory for a VM.' %
                      new['Limit'])
    if not 5 <= new['TargetMemoryBuffer'] <= 2000:
        raise invalid(vm, 'TargetMemoryBuffer is in 5..2000.')
    return changed(record, new)


def _check_quantities(vm: Vm, new: dict[str, typing.Any]) -> None:
    """Steps, lower bound, order and weight of memory (section 5, [F])."""
    quirks = vm.host.quirks
    for name in ('Reservation', 'VirtualQuantity', 'Limit'):
        if new[name] % quirks.memory_step_mib or (
                new[name] < quirks.memory_minimum_mib):
            raise invalid(vm, '%s of %d MB: a multiple of %d from %d is '
                          'needed.' % (name, new[name],
                                       quirks.memory_step_mib,
                                       quirks.memory_minimum_mib))
    if not quirks.memory_values_checked:
        return
    if not new['Reservation'] <= new['VirtualQuantity'] <= new['Limit']:
        raise invalid(vm, 'Minimum <= startup <= maximum memory is needed.')
    if not 0 <= new['Weight'] <= 10000:
        raise invalid(vm, 'Weight is in 0..10000.')


def _check_hot_memory(vm: Vm, record: engine.Record,
                      changes: dict[str, typing.Any]) -> None:
    if record['DynamicMemoryEnabled']:
        if 'VirtualQuantity' in changes:
            raise wrong_state(vm, 'Startup memory')
        if not vm.host.quirks.dynamic_memory_only_widens:
            return
        if changes.get('Reservation', 0) > record['Reservation']:
            raise wrong_state(vm, 'Minimum memory (it can only go down)')
        if changes.get('Limit', record['Limit']) < record['Limit']:
            raise wrong_state(vm, 'Maximum memory (it can only go up)')
    elif 'VirtualQuantity' in changes and not (
            vm.host.profile.is_2016 and vm.allows('hot_memory') and
            vm.state == 2):
        raise wrong_state(vm, 'Memory')
