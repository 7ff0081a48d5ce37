# SPDX-License-Identifier: Apache-2.0
"""Defining, changing and destroying virtual machines.

Msvm_VirtualSystemManagementService: DefineSystem, DestroySystem,
ModifySystemSettings (hyperv-semantics.md section 4).
"""

from __future__ import annotations

from collections.abc import Callable
import typing

from .. import devices
from .. import jobs
from .. import vm as vms
from .. import vmfiles
from . import engine
from . import values
from . import virtualization
from . import virtualization_power as power
from . import virtualization_resources as resources
from . import virtualization_rules as rules
from . import virtualization_tree as tree
from ..vm import OFF
from ..vm import SAVED
from ..vm import Vm
from ..winerror import WinError

if typing.TYPE_CHECKING:
    from ..host import Host

V2 = virtualization.V2
SERVICE = 'Msvm_VirtualSystemManagementService'
Out = dict[str, typing.Any] | int
_IS, _IS_NOT = 1, 2             #: of Msvm_ElementSettingData
_MERGING = 32772                #: second OperationalStatus (section 2)


def answer(exc: rules.Refused) -> dict[str, typing.Any]:
    """The out parameters of a refusal."""
    return {'ReturnValue': exc.code}


@engine.method(V2, SERVICE, 'DefineSystem')
def define_system(call: engine.Call) -> Out:
    """Create a VM that is off, with the devices of its generation."""
    return define(call, planned=False)


def define(call: engine.Call, *, planned: bool) -> Out:
    """DefineSystem and DefinePlannedSystem."""
    if call.args['ReferenceConfiguration'] is not None:
        raise engine.NotSimulated('DefineSystem(ReferenceConfiguration)')
    host = call.host
    given = _given(call)
    try:
        settings = _new_settings(host, given, planned)
        vm = create(host, settings, planned=planned)
    except rules.Refused as exc:
        return answer(exc)
    except WinError as exc:
        failure = jobs.from_windows(
            exc, 'The virtual machine could not be created')
        return host.jobs.failed(failure, jobs.DEFINE)
    if call.args['ResourceSettings']:
        added = resources.add_texts(vm, call.args['ResourceSettings'])
        if added['ReturnValue'] not in (0, jobs.STARTED):
            destroy(vm)
            return {'ReturnValue': added['ReturnValue']}
    out: dict[str, typing.Any] = {'ReturnValue': 0}
    if host.quirks.define_is_job and not planned:
        out = host.jobs.start(jobs.Task(
            work=lambda: None, job_type=jobs.DEFINE, affected=(vm.system,),
            name='Creating Virtual Machine', undo=lambda: destroy(vm)))
    return dict(out, ResultingSystem=vm.system if vm.exists else None)


def _given(call: engine.Call) -> dict[str, typing.Any]:
    """The settings that the caller has set."""
    text = call.args['SystemSettings']
    if not text:
        return {}
    return {name: value
            for name, value in call.store.parse_text(text).props.items()
            if value is not None}


def _new_settings(host: Host, given: dict[str, typing.Any],
                  planned: bool) -> dict[str, typing.Any]:
    subtype = given.get('VirtualSystemSubType') or devices.HV + 'SubType:1'
    if subtype not in devices.GENERATION:
        raise rules.invalid(host, 'No generation %s.' % subtype)
    generation = devices.GENERATION[subtype]
    version = given.get('Version') or host.profile.default_vm_version
    if not host.profile.supports(version):
        raise rules.invalid(host, 'No version %s here.' % version)
    rules.check_system(host, generation, version, given)
    guid = rules.new_identity(host, given.get('VirtualSystemIdentifier'))
    return dict(_defaults(host, generation), **dict(
        given, InstanceID='Microsoft:' + guid, ConfigurationID=guid,
        VirtualSystemIdentifier=guid, Version=version,
        VirtualSystemSubType=subtype,
        VirtualSystemType=(
            devices.PLANNED if planned else devices.REALIZED)))


def _defaults(host: Host, generation: int) -> dict[str, typing.Any]:
    root = host.v2.find('Msvm_VirtualSystemManagementServiceSettingData')[
        0]['DefaultExternalDataRoot']
    digits = '%028d' % (int(host.new_guid().replace('-', ''), 16) %
                        10 ** 28)
    serial = '-'.join(digits[at:at + 4] for at in range(0, 28, 4))
    return dict(
        ElementName='New Virtual Machine', Caption='Virtual Machine '
        'Settings', Description='Active settings for the virtual machine.',
        CreationTime=values.cim_datetime(host.clock.time()), Notes=(),
        ConfigurationDataRoot=root, SnapshotDataRoot=root,
        SuspendDataRoot=root, SwapFileDataRoot=root, LogDataRoot=root,
        GuestStateDataRoot=root,
        AutomaticStartupAction=host.quirks.default_startup_action,
        AutomaticStartupActionDelay=values.cim_interval(0),
        AutomaticShutdownAction=host.quirks.default_shutdown_action,
        AutomaticRecoveryAction=3,
        AutomaticCriticalErrorAction=1,
        AutomaticCriticalErrorActionTimeout=values.cim_interval(1800),
        BIOSGUID='{%s}' % host.new_guid(), BIOSSerialNumber=serial,
        BaseBoardSerialNumber=serial, ChassisSerialNumber=serial,
        ChassisAssetTag=serial, BIOSNumLock=False, IsSaved=False,
        BootOrder=(1, 2, 3, 0), BootSourceOrder=(), UserSnapshotType=3,
        VirtualNumaEnabled=True, IncrementalBackupEnabled=False,
        AllowFullSCSICommandSet=False, AllowReducedFcRedundancy=False,
        SecureBootEnabled=generation == 2,
        SecureBootTemplateId=(
            virtualization.SECURE_BOOT['MicrosoftWindows']
            if generation == 2 else None),
        PauseAfterBootFailure=False, NetworkBootPreferredProtocol=4096,
        GuestControlledCacheTypes=False, LockOnDisconnect=False,
        ConsoleMode=0, LowMmioGapSize=128, HighMmioGapSize=512,
        AutomaticSnapshotsEnabled=False, IsAutomaticSnapshot=False,
        EnhancedSessionTransportType=0, DebugPortEnabled=0,
        EnableHibernation=False)


def create(host: Host, settings: dict[str, typing.Any], *,
           planned: bool = False) -> Vm:
    """Make the records and files of a new VM.

    :param settings: properties of its Msvm_VirtualSystemSettingData
    :raises WinError: the configuration files cannot be made; nothing is
        left behind
    """
    store = host.v2
    vm = Vm(host, settings['VirtualSystemIdentifier'])
    now = values.cim_datetime(host.clock.time())
    vssd = store.add(vms.SETTINGS, **settings)
    cls = vms.PLANNED_SYSTEM if planned else vms.SYSTEM
    system = store.add(cls, CreationClassName=cls, Name=vm.guid,
                       ElementName=settings['ElementName'],
                       EnabledState=OFF, RequestedState=12, EnabledDefault=2,
                       HealthState=5, OperationalStatus=(2,), Status='OK',
                       StatusDescriptions=('Operating normally',),
                       Caption='Virtual Machine', InstallDate=now,
                       Description='Microsoft Virtual Machine',
                       TimeOfLastStateChange=now)
    if not planned:
        store.update(system, NumberOfNumaNodes=1, EnhancedSessionModeState=3,
                     TimeOfLastConfigurationChange=now, ReplicationState=0,
                     ReplicationHealth=0, ReplicationMode=0,
                     OnTimeInMilliseconds=0)
    store.add('Msvm_SettingsDefineState', ManagedElement=system,
              SettingData=vssd)
    store.add('Msvm_ElementSettingData', ManagedElement=system,
              SettingData=vssd, IsCurrent=_IS, IsDefault=_IS_NOT,
              IsNext=_IS)
    store.add('Msvm_VirtualSystemExportSettingData',
              InstanceID=vm.instance_id, ElementName=vm.name,
              CopySnapshotConfiguration=0, CopyVmStorage=True,
              CopyVmRuntimeInformation=True,
              CreateVmExportSubdirectory=True)
    _add_devices(vm, vssd)
    try:
        host.vms.files.create(vm)
    except WinError:
        destroy(vm)
        raise
    return vm


def _add_devices(vm: Vm, vssd: engine.Record) -> None:
    host = vm.host
    memory_mib = virtualization.vm_default_memory_mib(host)
    top = vm.instance_id + '\\'
    tree.add_resource(
        vm, 'Msvm_MemorySettingData', top + devices.MEMORY_GUID,
        dict(ElementName='Memory', ResourceType=4,
             ResourceSubType=devices.MEMORY, VirtualQuantity=memory_mib,
             Reservation=memory_mib, Limit=memory_mib, Weight=5000,
             DynamicMemoryEnabled=False, TargetMemoryBuffer=20,
             AllocationUnits='byte * 2^20', IsVirtualized=True,
             VirtualQuantityUnits='byte * 2^20', SwapFilesInUse=False,
             MaxMemoryBlocksPerNumaNode=max(
                 virtualization.numa_memory_mib(host)) // 2 * 2,
             SgxEnabled=False, SgxSize=0))
    tree.add_resource(
        vm, 'Msvm_ProcessorSettingData', top + devices.PROCESSOR_GUID +
        '\\0', dict(
            ElementName='Processor', ResourceType=3,
            ResourceSubType=devices.PROCESSOR, VirtualQuantity=1,
            Reservation=0, Limit=100000, Weight=100,
            AllocationUnits='percent / 1000', VirtualQuantityUnits='count',
            LimitCPUID=False, LimitProcessorFeatures=False,
            MaxProcessorsPerNumaNode=len(
                virtualization.numa_processors(host)[0]),
            MaxNumaNodesPerSocket=1, HwThreadsPerCore=0,
            EnableHostResourceProtection=False, HideHypervisorPresent=False,
            ExposeVirtualizationExtensions=False))
    made: dict[str, engine.Record] = {}
    for device in devices.default_devices(vm.generation,
                                          host.profile.is_2016):
        parent = made.get(device.parent)
        made[device.suffix] = tree.add_resource(
            vm, device.cls, top + device.suffix, dict(
                device.props, ElementName=device.name,
                ResourceType=device.resource_type,
                ResourceSubType=device.subtype,
                Parent=parent.path if parent else None))
    _add_components(vm)


def _add_components(vm: Vm) -> None:
    for cls, _device, guid, name in devices.COMPONENTS:
        tree.add_resource(vm, cls, '%s\\%s' % (vm.instance_id, guid), dict(
            ElementName=name, ResourceType=1, EnabledState=(
                3 if name == 'Guest Service Interface' else 2)))
    if vm.host.v2.classes.find('Msvm_SecuritySettingData'):
        vm.host.v2.add(
            'Msvm_SecuritySettingData', InstanceID='%s\\%s' % (
                vm.instance_id, devices.SECURITY_GUID),
            ElementName='Security Settings', TpmEnabled=False,
            KsdEnabled=False, ShieldingRequested=False,
            DataProtectionRequested=False,
            EncryptStateAndVmMigrationTraffic=False,
            VirtualizationBasedSecurityOptOut=False, BindToHostTpm=False)


def destroy(vm: Vm) -> None:
    """Remove a VM with its snapshots' definitions; disks stay."""
    host = vm.host
    for settings in host.v2.find(vms.SETTINGS,
                                 VirtualSystemIdentifier=vm.guid):
        if settings['InstanceID'] != vm.instance_id:
            tree.remove_tree(host, settings['InstanceID'])
    for record in reversed(vm.resources(
            'CIM_ResourceAllocationSettingData')):
        resources.kind_of(record).removed(vm, record)
    host.vms.files.remove(vm)
    host.vms.forget(vm.guid)
    system = vm.find_system
    tree.remove_tree(host, vm.instance_id)
    if system is not None:
        for link in host.v2.referring(system):
            host.v2.delete(link)
        host.v2.delete(system)


@engine.method(V2, SERVICE, 'DestroySystem')
def destroy_system(call: engine.Call) -> Out:
    """Remove a VM that is off or saved, or a planned VM (section 4)."""
    host = call.host
    vm = host.vms.of_system(call.args['AffectedSystem'])
    if vm is None:
        return host.quirks.invalid_parameter_code
    if _state_to_destroy(vm) not in (OFF, SAVED) or merging(vm):
        return host.quirks.invalid_state_code
    if power.is_busy(vm):
        return jobs.INVALID_STATE
    if not host.quirks.destroy_is_job:
        try:
            _destroy_if_idle(vm)
        except (jobs.JobFailure, WinError):
            return jobs.FAILED
        return 0
    return host.jobs.start(jobs.Task(
        work=lambda: _destroy_if_idle(vm), job_type=jobs.DESTROY,
        affected=(vm.system,), name='Destroying Virtual Machine'))


def _state_to_destroy(vm: Vm) -> int:
    """Its state; lost storage does not keep a VM from being removed."""
    return vms.UNCRITICAL.get(vm.state, vm.state) if (
        vm.worker is None) else vm.state


def _destroy_if_idle(vm: Vm) -> None:
    if _state_to_destroy(vm) not in (OFF, SAVED):
        raise jobs.JobFailure('%s is not off.' % vm.describe(),
                              jobs.INVALID_STATE)
    for merge in BEFORE_DESTROY:
        merge(vm)
    destroy(vm)


#: What is done first when a VM is destroyed; providers add theirs.
BEFORE_DESTROY: list[Callable[[Vm], None]] = []


def merging(vm: Vm) -> bool:
    """Whether merging disks keep the VM as it is (section 8)."""
    return vm.host.quirks.merge_blocks and _MERGING in (
        vm.system['OperationalStatus'] or ())


@engine.computed(V2, 'Msvm_ComputerSystem', 'NumberOfNumaNodes')
def numa_nodes(host: Host, record: engine.Record) -> dict[str, typing.Any]:
    """Virtual NUMA nodes: as many as processors and memory need.

    One without VirtualNumaEnabled or with dynamic memory (section 5).
    """
    vm = host.vms.by_guid(record['Name'])
    if vm is None or not vm.resources('Msvm_MemorySettingData'):
        return {}                       # half-way through its definition
    memory, processor = vm.memory, vm.processor
    if not vm.settings['VirtualNumaEnabled'] or (
            memory['DynamicMemoryEnabled']):
        return {'NumberOfNumaNodes': 1}
    nodes = max(
        -(-processor['VirtualQuantity'] //
          processor['MaxProcessorsPerNumaNode']),
        -(-memory['VirtualQuantity'] //
          max(1, memory['MaxMemoryBlocksPerNumaNode'])))
    return {'NumberOfNumaNodes': nodes}


@engine.method(V2, SERVICE, 'ModifyServiceSettings')
def modify_service_settings(call: engine.Call) -> Out:
    """Change what holds for the whole host (NUMA spanning, paths)."""
    parsed = call.store.parse_text(call.args['SettingData'])
    record = call.store.get(parsed.cls.name,
                            InstanceID=parsed.get('InstanceID') or '')
    if record is None or not record.cls.is_a(
            'Msvm_VirtualSystemManagementServiceSettingData'):
        return call.host.quirks.invalid_parameter_code
    call.store.update(record, **rules.changed(record, parsed.props))
    return 0


@engine.method(V2, SERVICE, 'ModifySystemSettings')
def modify_system_settings(call: engine.Call) -> Out:
    """Change settings of a VM or the name and notes of a snapshot."""
    parsed = call.store.parse_text(call.args['SystemSettings'])
    record = call.store.get(vms.SETTINGS,
                            InstanceID=parsed.get('InstanceID') or '')
    if record is None or record['VirtualSystemType'] == devices.DEFINITION:
        return call.host.quirks.invalid_parameter_code
    try:
        _modify(call.host, record, rules.changed(record, parsed.props))
    except rules.Refused as exc:
        return answer(exc)
    return resources.modified(call.host.vms.of(record))


def _modify(host: Host, record: engine.Record,
            changes: dict[str, typing.Any]) -> None:
    vm = host.vms.of(record)
    if vm is None or record['InstanceID'] != vm.instance_id:
        if set(changes) - {'ElementName', 'Notes'}:
            raise rules.invalid(host, 'Only name and notes of a snapshot '
                                'can be changed.')
        host.v2.update(record, **changes)
        return
    rules.need_settled(vm)
    fixed = rules.FIXED_SYSTEM.intersection(changes)
    if fixed:
        raise rules.invalid(host, '%s cannot be changed.' % sorted(fixed))
    if 'BootSourceOrder' in changes:
        changes['BootSourceOrder'] = rules.check_boot_sources(
            vm, changes['BootSourceOrder'])
        changes = rules.changed(record, changes)
    rules.need_off(vm, changes, rules.OFF_ONLY_SYSTEM)
    rules.check_assigned(vm, changes)
    if 'SnapshotDataRoot' in changes and record['Parent']:
        raise rules.invalid(host, 'The VM has checkpoints.')
    rules.check_system(host, vm.generation, vm.version, changes)
    before = vmfiles.names(vm)
    host.v2.update(record, **changes)
    if 'ElementName' in changes:
        host.v2.update(vm.system, ElementName=changes['ElementName'])
    host.vms.files.move(vm, before)
    vm.touch()
