# SPDX-License-Identifier: Apache-2.0
"""Whether a VM can move to another host (hyperv-semantics.md section 11).

Every check raises JobFailure with the code and the kind of text that
Hyper-V's job would end with.
"""

from __future__ import annotations

import dataclasses
import typing

from .. import devices
from .. import jobs
from .. import pipe_ops
from .. import vm as vms
from . import engine
from . import network_ports as ports
from . import virtualization_definition as definitions
from . import virtualization_power as power
from ..vm import Vm

if typing.TYPE_CHECKING:
    from ..host import Host

#: MigrationType.
VM, STORAGE, STAGED, VM_AND_STORAGE, DEEP_CHECK = range(32768, 32773)
#: Job types of moves that count against the host's limits.
MOVES = (jobs.MOVE, jobs.MOVE_ALL)
SERVICE_SETTINGS = 'Msvm_VirtualSystemMigrationServiceSettingData'
_NEEDS_PROCESSOR = frozenset((vms.RUNNING, vms.PAUSED, vms.SAVED))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What MigrateVirtualSystemToHost was asked to do."""

    vm: Vm
    kind: int                           #: MigrationType
    destination: str                    #: host name as given
    settings: engine.Embedded
    #: InstanceID in lower case -> new path; None: not given.
    new_paths: dict[str, str] | None
    new_system: engine.Embedded | None = None

    @property
    def planned_guid(self) -> str | None:
        """The planned VM to move into, if one was named."""
        given = self.settings['DestinationPlannedVirtualSystemId']
        return str(given).upper() if given else None

    def flag(self, name: str) -> bool:
        """A boolean of the migration settings; False where unknown."""
        return bool(self.settings[name])

    def failure(self, text: str, code: int = jobs.FAILED
                ) -> jobs.JobFailure:
        """An error as the source's job shows it."""
        return jobs.JobFailure(
            "Virtual machine migration operation for '%s' failed at "
            "migration source '%s'. (Virtual machine ID %s): %s" % (
                self.vm.name, self.vm.host.name, self.vm.guid, text), code)


def target_of(request: Request) -> Host:
    """The destination.

    :raises JobFailure: unknown, off, cut off, or the host itself
    """
    source = request.vm.host
    found = source.fabric.find(request.destination)
    if found is None or not found.powered or not (
            source.fabric.connected(source, found)):
        raise request.failure(
            "failed to establish a connection with host '%s': No connection "
            'could be made because the target machine actively refused it. '
            '(0x8007274D).' % request.destination)
    if found is source:
        raise request.failure('the virtual machine is on this host already. '
                              '(0x80070057).', jobs.INVALID_PARAMETER)
    return found


def needs(request: Request, what: str) -> bool:
    """Whether a migration is refused without *what* (section 11, [F])."""
    return what in request.vm.host.quirks.migration_needs


def settings_of(host: Host) -> engine.Record:
    """The migration service's settings of a host."""
    return host.v2.find(SERVICE_SETTINGS)[0]


def active(host: Host, *job_types: int) -> int:
    """Migrations of those job types that *host* takes part in."""
    return sum(
        1 for other in host.fabric.hosts.values()
        for job in other.jobs.pending()
        if job['JobType'] in job_types and (
            other is host or host.fabric.find(
                job.get('DestinationHost') or '') is host))


def check_hosts(request: Request, target: Host) -> None:
    """Both hosts are set up for migration and have a turn left."""
    for host in (request.vm.host, target):
        if needs(request, 'enabled') and not (
                settings_of(host)['EnableVirtualSystemMigration']):
            raise request.failure(
                "virtual machine migration is not enabled on '%s'. "
                '(0x80070032).' % host.name, jobs.NOT_SUPPORTED)
        limit = settings_of(host)['MaximumActiveVirtualSystemMigration']
        if needs(request, 'maximum') and active(host, *MOVES) > limit:
            raise request.failure(
                "'%s' takes part in as many migrations as it may (%d)." % (
                    host.name, limit), jobs.IN_USE)
    wanted = request.settings['DestinationIPAddressList'] or ()
    listening = listeners(target)
    if needs(request, 'address') and (
            not listening or wanted and not set(wanted) & set(listening)):
        raise request.failure(
            "the migration service of '%s' does not listen at %s. "
            '(0x8007274D).' % (target.name, ', '.join(wanted) or 'all'))


def listeners(host: Host) -> tuple[str, ...]:
    """Addresses at which a host takes migrations."""
    if not settings_of(host)['EnableVirtualSystemMigration']:
        return ()
    number = list(host.fabric.hosts).index(host.name) + 1
    return tuple(host.spec.extra.get('migration_addresses',
                                     ('127.0.1.%d' % number,)))


def check_machine(request: Request, target: Host) -> None:
    """The VM itself may go, and the destination can run it."""
    vm = request.vm
    if vm.resources(devices.PCI):
        raise request.failure('a device of the host is assigned to it '
                              '(discrete device assignment). '
                              '(0x80070032).', jobs.NOT_SUPPORTED)
    if not target.profile.supports(vm.version):
        raise request.failure(
            "configuration version %s is not supported on '%s'. "
            '(0x80070032).' % (vm.version, target.name),
            jobs.NOT_SUPPORTED)
    if vm.state in _NEEDS_PROCESSOR:
        check_processor(request, target)
    if needs(request, 'remotefx') and vm.resources(
            'Msvm_Synthetic3DDisplayControllerSettingData'):
        pool = target.v2.find('Msvm_Synth3dVideoPool') if (
            target.v2.classes.find('Msvm_Synth3dVideoPool')) else []
        if not pool or not pool[0]['IsGPUCapable']:
            raise request.failure("'%s' has no RemoteFX adapter." %
                                  target.name, jobs.NOT_SUPPORTED)


def check_processor(request: Request, target: Host) -> None:
    """Same vendor; the same features or LimitProcessorFeatures [D]."""
    source = request.vm.host
    reasons = incompatibilities(
        compatibility(source), target,
        limited=bool(request.vm.processor['LimitProcessorFeatures']))
    if reasons:
        raise request.failure(
            "the hardware on '%s' is not compatible: %s (0x80070032)." % (
                target.name, ' '.join(reasons)), jobs.NOT_SUPPORTED)


def compatibility(host: Host) -> dict[str, typing.Any]:
    """What of a host's processors matters to a running VM."""
    return {'vendor': host.spec.extra.get('cpu_vendor', 'GenuineIntel'),
            'features': sorted(pipe_ops.processor_features(host))}


def incompatibilities(needed: dict[str, typing.Any], target: Host, *,
                      limited: bool) -> list[str]:
    """Why a VM that ran on such processors cannot go on; [] if it can."""
    have = compatibility(target)
    if needed['vendor'] != have['vendor']:
        return ['The processors are of another vendor (%s, not %s).' % (
            have['vendor'], needed['vendor'])]
    lacking = set(needed['features']) - set(have['features'])
    if lacking and not limited:
        return ['The virtual machine is using processor-specific features '
                'that are not supported there (%s).' % ', '.join(
                    str(one) for one in sorted(lacking))]
    return []


def check_identity(request: Request, target: Host) -> None:
    """Nothing of that GUID is there but the planned VM that was named."""
    guid = request.vm.guid
    named = request.planned_guid
    existing = target.vms.by_guid(guid)
    if named is not None and (named != guid or existing is None or
                              not existing.is_planned):
        raise request.failure(
            "there is no planned virtual machine %s on '%s'. "
            '(0x80070490).' % (named, target.name), jobs.INVALID_PARAMETER)
    if named is None and definitions.is_known(target, guid):
        raise request.failure(
            "a virtual machine with the same identifier already exists on "
            "'%s'. (0x800700B7)." % target.name)


def check_planned(request: Request, planned: Vm) -> None:
    """What the VM is plugged into is at the destination, too."""
    target = planned.host
    for port in planned.resources(devices.PORT) if (
            needs(request, 'switch')) else ():
        given = port['HostResource'] or ('',)
        if given[0] and ports.switch_of(planned, port.props) is None:
            raise request.failure(
                "could not find Ethernet switch '%s' on '%s'. "
                '(0x80070490).' % (_switch_name(request, given[0], port),
                                   target.name))
    for drive in planned.resources(devices.RASD, devices.PHYSICAL_DISK):
        if target.v2.by_path((drive['HostResource'] or ('',))[0]) is None:
            raise request.failure(
                "a physical disk of the virtual machine cannot be found on "
                "'%s'. (0x80070002)." % target.name)
    for medium in planned.media() if needs(request, 'files') else ():
        path = medium['HostResource'][0]
        if medium['ResourceSubType'] != devices.HARD_DISK and (
                not target.storage.exists(path)):
            raise request.failure(
                "'%s' cannot be accessed on '%s': the system cannot find "
                'the file specified. (0x80070002).' % (path, target.name))
    if needs(request, 'memory') and (
            request.vm.state in (vms.RUNNING, vms.PAUSED)):
        power.reserve(planned)


def _switch_name(request: Request, path: str, port: engine.Record) -> str:
    switch = request.vm.host.v2.by_path(path)
    return str(port['LastKnownSwitchName'] or (
        path if switch is None else switch['ElementName']))
