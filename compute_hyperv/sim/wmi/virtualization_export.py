# SPDX-License-Identifier: Apache-2.0
r"""ExportSystemDefinition and ImportSystemDefinition.

An exported VM is a folder (hyperv-semantics.md section 10)::

    Virtual Machines\<GUID>.vmcx      or .xml; what runs with it beside
    Snapshots\<GUID>.vmcx             one for each checkpoint
    Virtual Hard Disks\               files, when CopyVmStorage

Imported it is a planned VM, which is then changed and realized.
"""

from __future__ import annotations

import ntpath
import typing

from .. import devices
from .. import jobs
from .. import snapshotdisks
from .. import transfer
from .. import vm as vms
from .. import vmfiles
from .. import winerror
from . import engine
from . import virtualization
from . import virtualization_definition as definitions
from . import virtualization_power as power
from . import virtualization_system as system
from ..vm import Vm
from ..winerror import WinError

if typing.TYPE_CHECKING:
    from ..host import Host

V2 = virtualization.V2
SERVICE = 'Msvm_VirtualSystemManagementService'
_SETTINGS = 'Msvm_VirtualSystemExportSettingData'
SNAPSHOTS, DISKS = 'Snapshots', 'Virtual Hard Disks'
#: CopySnapshotConfiguration.
_ALL, _NONE, _ONE, _ONE_FOR_BACKUP = 0, 1, 2, 3
#: Return code of ImportSystemDefinition [D].
FILE_IN_USE = 32779
_EXPORTING = 32773              #: second OperationalStatus (section 2)
_EXPORTABLE = frozenset((vms.OFF, vms.RUNNING, vms.PAUSED, vms.SAVED))
_SUFFIXES = ('.vmcx', '.xml', '.exp')
Out = dict[str, typing.Any] | int


class Export:
    """One export: what goes where."""

    def __init__(self, vm: Vm, folder: str,
                 settings: engine.Embedded | engine.Record) -> None:
        self.vm = vm
        self.storage = vm.host.storage
        self.folder = folder
        if settings['CreateVmExportSubdirectory']:
            self.folder = ntpath.join(folder, vm.name)
        self.settings = settings
        self.files = transfer.Transfer()
        self.snapshots = self._snapshots()

    def _snapshots(self) -> list[engine.Record]:
        which = self.settings['CopySnapshotConfiguration'] or _ALL
        every = definitions.snapshots_of(self.vm)
        if which == _ALL:
            return every
        if which == _NONE:
            return []
        given = (self.settings['SnapshotVirtualSystem'] or '').lower()
        return [one for one in every if one.path.lower() == given]

    def run(self) -> None:
        """Write everything.

        :raises WinError: nothing is left behind
        """
        self.vm.host.v2.update(self.vm.system, OperationalStatus=(2,))
        try:
            self._write()
        except WinError:
            self.files.undo()
            raise

    def _write(self) -> None:
        vm = self.vm
        for name in (vmfiles.FOLDER, SNAPSHOTS, DISKS):
            self.files.make_folder(self.storage,
                                   ntpath.join(self.folder, name))
        definition = definitions.take(vm, self.snapshots)
        if not self.settings['CopyVmRuntimeInformation']:
            _forget_state(definition)
        if self.settings['CopyVmStorage']:
            self._copy_disks(definition)
        for name in vmfiles.names(vm):
            self.files.write(self.storage, ntpath.join(
                self.folder, vmfiles.FOLDER, ntpath.basename(name)),
                b'' if not name.endswith(_SUFFIXES) else
                definitions.to_bytes(_main_part(definition)))
        for snapshot in self.snapshots:
            guid = vms.guid_of(snapshot['InstanceID'])
            self.files.write(self.storage, ntpath.join(
                self.folder, SNAPSHOTS, guid + definitions.suffix(
                    vm.version)), definitions.to_bytes(
                        _snapshot_part(definition, guid)))

    def _free_name(self, path: str, taken: dict[str, str]) -> str:
        """Where a disk is exported to; names may repeat in its folders."""
        base, suffix = ntpath.splitext(ntpath.basename(path))
        names = {one.lower() for one in taken.values()}
        number, end = 0, ''
        while True:
            name = ntpath.join(self.folder, DISKS, base + end + suffix)
            if name.lower() not in names:
                return name
            number += 1
            end = '_%d' % number

    def _copy_disks(self, definition: definitions.Json) -> None:
        """Copy the chains and note the new names in the definition."""
        host = self.vm.host
        new_paths: dict[str, str] = {}
        chains: list[list[str]] = []
        for prefix in (self.vm.instance_id, *(
                one['InstanceID'] for one in self.snapshots)):
            for medium in snapshotdisks.hard_disks(host, prefix):
                chains.append(host.vdisks.chain(
                    medium['HostResource'][0]))
        for path in (path for chain in chains for path in chain):
            if path.lower() not in new_paths:
                new_paths[path.lower()] = self._free_name(path, new_paths)
                self.files.copy(self.storage, path, self.storage,
                                new_paths[path.lower()])
        for chain in chains:
            for child, parent in zip(chain, chain[1:]):
                snapshotdisks.reconnect(host, new_paths[child.lower()],
                                        new_paths[parent.lower()])
        for _cls, props in definition['records']:
            if props.get('ResourceSubType') == devices.HARD_DISK:
                props['HostResource'] = [
                    new_paths.get(path.lower(), path)
                    for path in props['HostResource'] or ()]
        definition['disks'] = sorted(
            ntpath.basename(path) for path in new_paths.values())


def _forget_state(definition: definitions.Json) -> None:
    for cls, props in definition['records']:
        if cls == vms.SETTINGS:
            props['IsSaved'] = False


def _is_of(props: definitions.Json, guid: str) -> bool:
    return str(props.get('InstanceID', '')).upper().startswith(
        'MICROSOFT:' + guid)


def _main_part(definition: definitions.Json) -> definitions.Json:
    """The VM itself, and of its checkpoints nothing but the names."""
    return dict(definition, records=[
        [cls, props] for cls, props in definition['records']
        if not any(_is_of(props, guid) for guid in definition['snapshots'])],
        missing=[props for cls, props in definition['records']
                 if cls == vms.SETTINGS and
                 not _is_of(props, definition['guid'])])


def _snapshot_part(definition: definitions.Json, guid: str
                   ) -> definitions.Json:
    return dict(
        definition, snapshots=[guid], records=[
            [cls, props] for cls, props in definition['records']
            if _is_of(props, guid)],
        links=[[cls, props] for cls, props in definition['links']
               if 'microsoft:' + guid.lower() in str(props).lower()])


@engine.method(V2, SERVICE, 'ExportSystemDefinition')
def export_system_definition(call: engine.Call) -> Out:
    """Write a VM to a folder; always a job.

    os-win names the VM by its settings although a computer system is
    documented; Hyper-V takes both (oswin-surface.md 9.2).
    """
    host = call.host
    vm = host.vms.of(call.args['ComputerSystem'])
    folder = call.args['ExportDirectory']
    if vm is None or vm.is_planned or not folder:
        return jobs.INVALID_PARAMETER
    if vm.state not in _EXPORTABLE or power.is_busy(vm):
        return jobs.INVALID_STATE
    settings: engine.Embedded | engine.Record | None = host.v2.get(
        _SETTINGS, InstanceID=vm.instance_id)
    if call.args['ExportSettingData']:
        settings = call.store.parse_text(call.args['ExportSettingData'])
    if settings is None or settings.cls.name != _SETTINGS:
        return jobs.INVALID_PARAMETER
    host.v2.update(vm.system, OperationalStatus=(2, _EXPORTING))
    return host.jobs.start(jobs.Task(
        work=Export(vm, folder, settings).run, job_type=jobs.EXPORT,
        affected=(vm.system,), name='Exporting Virtual Machine',
        cancellable=True, undo=lambda: host.v2.update(
            vm.system, OperationalStatus=(2,))))


# -- import
@engine.method(V2, SERVICE, 'ImportSystemDefinition')
def import_system_definition(call: engine.Call) -> Out:
    """Make a planned VM of a definition file; a job."""
    host = call.host
    path = call.args['SystemDefinitionFile'] or ''
    if ntpath.splitext(path)[1].lower() not in _SUFFIXES:
        return jobs.INVALID_PARAMETER
    if _is_in_use(host, path):
        return FILE_IN_USE
    made: list[engine.Record] = []

    def work() -> None:
        made.append(load_file(
            host, path, call.args['SnapshotFolder'] or '',
            new_id=bool(call.args['GenerateNewSystemIdentifier'])).system)

    started = host.jobs.start(jobs.Task(
        work=work, job_type=jobs.IMPORT, created=made,
        name='Importing Virtual Machine'))
    return dict(started, ImportedSystem=made[0] if made else None)


def _is_in_use(host: Host, path: str) -> bool:
    try:
        host.storage.hold(path, share='read').close()
    except WinError as exc:
        return exc.winerror == winerror.SHARING_VIOLATION
    return False


def _read(host: Host, path: str) -> definitions.Json:
    with open(host.storage.local(path), 'rb') as file:
        data = file.read()
    try:
        return definitions.from_bytes(data)
    except definitions.NoDefinition as exc:
        raise jobs.JobFailure(
            "The configuration file '%s' cannot be read: The file or "
            'directory is corrupted and unreadable. (0x80070570).' %
            path) from exc


def load_file(host: Host, path: str, snapshot_folder: str, *,
              new_id: bool) -> Vm:
    """The planned VM of a definition file.

    :raises JobFailure, WinError: nothing was made
    """
    definition = _read(host, path)
    _add_snapshots(host, definition, snapshot_folder)
    if new_id or not host.quirks.import_refuses_known_guid and (
            definitions.is_known(host, definition['guid'])):
        definition = definitions.renamed(definition, {
            guid: host.new_guid() for guid in (
                definition['guid'], *definition['snapshots'])})
    what = "'%s' (Virtual machine ID %s)" % (definition['name'],
                                             definition['guid'])
    if not host.profile.supports(definition['version']):
        raise jobs.JobFailure(
            '%s cannot be imported: configuration version %s is not '
            'supported by this host.' % (what, definition['version']),
            jobs.NOT_SUPPORTED)
    if definitions.is_known(host, definition['guid']):
        raise jobs.JobFailure(
            '%s cannot be imported: a virtual machine with the same '
            'identifier already exists. (0x800700B7).' % what)
    _find_disks(host, definition, ntpath.dirname(ntpath.dirname(path)))
    vm = definitions.load(host, definition, planned=True)
    try:
        host.vms.files.create(vm)
    except WinError:
        system.destroy(vm)
        raise
    return vm


def _add_snapshots(host: Host, definition: definitions.Json,
                   folder: str) -> None:
    """Complete the checkpoints; those not found are marked missing."""
    suffix = definitions.suffix(definition['version'])
    for settings in definition['missing']:
        guid = vms.guid_of(settings['InstanceID'])
        path = ntpath.join(folder, guid + suffix) if folder else ''
        if path and host.storage.exists(path):
            definitions.add_snapshot(definition, _read(host, path))
        else:
            definition['records'].append([vms.SETTINGS, dict(
                settings, VirtualSystemType=devices.SNAPSHOT_MISSING,
                BootSourceOrder=())])


def _find_disks(host: Host, definition: definitions.Json,
                folder: str) -> None:
    """Disks that were exported along lie beside the definition."""
    exported = {name.lower() for name in definition.get('disks', ())}
    for _cls, props in definition['records']:
        if props.get('ResourceSubType') == devices.HARD_DISK:
            props['HostResource'] = [
                ntpath.join(folder, DISKS, ntpath.basename(path))
                if ntpath.basename(path).lower() in exported else path
                for path in props['HostResource'] or ()]


@engine.method(V2, SERVICE, 'ImportSnapshotDefinitions')
def import_snapshot_definitions(call: engine.Call) -> Out:
    """Complete the missing checkpoints of a planned VM from a folder."""
    host = call.host
    vm = host.vms.of(call.args['PlannedSystem'])
    folder = call.args['SnapshotFolder'] or ''
    if vm is None or not vm.is_planned or not folder:
        return jobs.INVALID_PARAMETER
    found: list[engine.Record] = []

    def work() -> None:
        for settings in definitions.snapshots_of(vm):
            if settings['VirtualSystemType'] == devices.SNAPSHOT_MISSING:
                path = ntpath.join(folder, vms.guid_of(
                    settings['InstanceID']) + definitions.suffix(
                        vm.version))
                definitions.complete_snapshot(vm, settings,
                                              _read(host, path))
                found.append(settings)

    started = host.jobs.start(jobs.Task(
        work=work, job_type=jobs.IMPORT, created=found,
        name='Importing Checkpoints', affected=(vm.system,)))
    return dict(started, ImportedSnapshots=tuple(
        record.path for record in found))
