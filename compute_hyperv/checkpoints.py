# SPDX-License-Identifier: Apache-2.0
"""Checkpoints (Hyper-V's snapshots) of a VM, for the time of a copy."""

from collections.abc import Iterator
import contextlib
import json
import time

from nova import exception
from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import jobwaits
from compute_hyperv import operation
from compute_hyperv import oswin
from compute_hyperv import paths as paths_module

LOG = logging.getLogger(__name__)

#: How the checkpoints made here are called; what is left of a process that
#: was killed is known by it.
NAME_PREFIX = 'OpenStack '
#: File in the export directory: the host, the WMI paths of the checkpoints
#: that a VM had before, for Hyper-V makes one under another name first, and
#: the type of its checkpoints, if that is changed meanwhile.
NOTE = 'checkpoints.json'
#: Msvm_VirtualSystemSettingData.UserSnapshotType: production checkpoints,
#: never one without the guest's help.
_PRODUCTION_ONLY = 4
_REMOVE_ATTEMPTS = 3
_LOOK_INTERVAL_S = 0.5


class Checkpoints:
    """Makes and removes checkpoints.

    :param create_timeout_s: how long making one may take.
    :param merge_timeout_s: how long removing one and merging its disks may.
    """

    def __init__(self, win: oswin.Win, *, create_timeout_s: int,
                 merge_timeout_s: int,
                 clock: operation.Clock = time) -> None:
        self._win = win
        self._create_timeout_s = create_timeout_s
        self._merge_timeout_s = merge_timeout_s
        self._clock = clock

    @contextlib.contextmanager
    def frozen(self, vm_name: str, name: str,
               quiesced: bool) -> Iterator[None]:
        """The disks that a VM has now do not change inside the block.

        When the block is left, however, the checkpoint is gone and the VM
        uses those very files again.

        :param name: goes into the checkpoint's name.
        :param quiesced: only with the help of the guest, which writes out
            what it holds.
        :raises InstanceQuiesceNotSupported: this VM knows no such.
        :raises WaitTimeout: Hyper-V does not get it done.
        """
        used = self._disks(vm_name)
        before = set(self._win.vm.get_vm_snapshots(vm_name))
        try:
            with self._type(vm_name, quiesced):
                operation.bounded(
                    self._take, vm_name, NAME_PREFIX + name,
                    what=f'checkpoint of {vm_name}',
                    timeout_s=self._create_timeout_s)
            yield
        except BaseException:
            try:
                self._remove(vm_name, before, used)
            except Exception:       # the caller sees the first error
                LOG.exception("A checkpoint of %s stays", vm_name)
            raise
        self._remove(vm_name, before, used)

    def _take(self, vm_name: str, name: str) -> None:
        """Make a checkpoint of a VM's virtual disks.

        Physical ones are left out, which os-win cannot ask for and hosts
        before 2016 do not know.
        """
        vm = self._win.vm
        if not vm.get_vm_storage_paths(vm_name)[1]:
            vm.take_vm_snapshot(vm_name, name)
            return
        system = vm._lookup_vm_check(vm_name, as_vssd=False)
        wanted = vm._compat_conn.Msvm_VirtualSystemSnapshotSettingData.new()
        wanted.IgnoreNonSnapshottableDisks = True
        service, = vm._compat_conn.Msvm_VirtualSystemSnapshotService()
        path, _snapshot, code = service.CreateSnapshot(
            AffectedSystem=system.path_(), SnapshotSettings=wanted.GetText_(1),
            SnapshotType=vm._SNAPSHOT_FULL)
        job = vm._jobutils.check_ret_val(code, path)
        made, = job.associators(
            wmi_association_class=vm._AFFECTED_JOB_ELEMENT_CLASS,
            wmi_result_class=vm._VIRTUAL_SYSTEM_SETTING_DATA_CLASS)
        made.ElementName = name
        vm._modify_virtual_system(made)

    def left(self) -> dict[str, set[str]]:
        """What was made here and is not over; two queries for all VMs.

        :returns: VM name -> names of its checkpoints made here; none for a
            VM without checkpoints whose disks are still being merged.
        """
        names, ours, others = {}, {}, set()
        for settings in self._win.vm._conn.Msvm_VirtualSystemSettingData(
                ['ElementName', 'VirtualSystemIdentifier',
                 'VirtualSystemType']):
            # Definitions of defaults have none.
            guid = (settings.VirtualSystemIdentifier or '').upper()
            if settings.VirtualSystemType == (
                    self._win.vm._VIRTUAL_SYSTEM_TYPE_REALIZED):
                names[guid] = settings.ElementName
            elif settings.ElementName.startswith(NAME_PREFIX):
                ours.setdefault(guid, set()).add(settings.ElementName)
            else:
                others.add(guid)
        found = {guid: set() for guid in self._merging() - others} | ours
        return {names[guid]: found[guid] for guid in found if guid in names}

    def _merging(self) -> set[str]:
        """GUIDs of the VMs that use disks which checkpoints made."""
        return {medium.InstanceID.partition(':')[2].partition('\\')[0].upper()
                for medium
                in self._win.vm._conn.Msvm_StorageAllocationSettingData(
                    ['InstanceID', 'HostResource'])
                if any(_is_of_checkpoint(path)
                       for path in medium.HostResource or ())}

    def note(self, vm_name: str, quiesced: bool) -> str:
        """What to write as :data:`NOTE` before :meth:`frozen`."""
        return json.dumps({
            'host': self._win.name,
            'checkpoints': sorted(self._win.vm.get_vm_snapshots(vm_name)),
            'type': self._usual_type(vm_name) if quiesced else None})

    def remove_left(self, vm_name: str, names: set[str],
                    note: str = '') -> None:
        """Remove checkpoints that :meth:`left` found; wait for the merge.

        :param note: the :data:`NOTE` of a snapshot that was interrupted:
            what is not in there is of that one, whatever its name.
        :raises WaitTimeout: Hyper-V does not get it done.
        """
        before, usual = _parsed(note, vm_name, self._win.name)
        if usual is not None and usual != self._usual_type(vm_name):
            self._restore_type(vm_name, usual)
        paths = {path for name in names
                 for path in self._win.vm.get_vm_snapshots(vm_name, name)}
        every = set(self._win.vm.get_vm_snapshots(vm_name))
        if before is not None:
            paths |= every - before
        operation.retry(
            self._remove_new, vm_name, every - paths,
            on=errors.OS_WIN_ERRORS, attempts=_REMOVE_ATTEMPTS,
            clock=self._clock)
        if every <= paths:
            operation.until(
                lambda: not any(map(_is_of_checkpoint, operation.retry(
                    self._disks, vm_name, on=errors.OS_WIN_ERRORS,
                    attempts=_REMOVE_ATTEMPTS, clock=self._clock))),
                what=f'merge of the disks of {vm_name}',
                timeout_s=self._merge_timeout_s,
                interval_s=_LOOK_INTERVAL_S, clock=self._clock)

    @contextlib.contextmanager
    def _type(self, vm_name: str, quiesced: bool) -> Iterator[None]:
        """Let checkpoints of a VM be production ones, if *quiesced*."""
        if not quiesced:
            yield
            return
        if not self._win.caps.production_checkpoints:
            raise exception.InstanceQuiesceNotSupported(instance_id=vm_name)
        usual = self._usual_type(vm_name)
        self._set_type(vm_name, _PRODUCTION_ONLY)
        try:
            yield
        finally:
            self._restore_type(vm_name, usual)

    def _usual_type(self, vm_name: str) -> int | None:
        """What checkpoints of a VM are; None on hosts with one type only."""
        if not self._win.caps.production_checkpoints:
            return None
        return int(self._win.vm._lookup_vm_check(vm_name).UserSnapshotType)

    def _restore_type(self, vm_name: str, snapshot_type: int | None) -> None:
        operation.retry(self._set_type, vm_name, snapshot_type,
                        on=errors.OS_WIN_ERRORS, attempts=_REMOVE_ATTEMPTS,
                        clock=self._clock)

    def _set_type(self, vm_name: str, snapshot_type: int | None) -> None:
        settings = self._win.vm._lookup_vm_check(vm_name)
        settings.UserSnapshotType = snapshot_type
        self._win.vm._modify_virtual_system(settings)

    def _disks(self, vm_name: str) -> set[str]:
        files, _volumes = self._win.vm.get_vm_storage_paths(vm_name)
        return {paths_module.normal(path) for path in files}

    def _remove(self, vm_name: str, before: set[str],
                used: set[str]) -> None:
        """Remove what is new since *before*; wait for the merge."""
        operation.retry(
            self._remove_new, vm_name, before, on=errors.OS_WIN_ERRORS,
            attempts=_REMOVE_ATTEMPTS, clock=self._clock)
        operation.until(
            lambda: operation.retry(
                self._disks, vm_name, on=errors.OS_WIN_ERRORS,
                attempts=_REMOVE_ATTEMPTS, clock=self._clock) >= used,
            what=f'merge of the disks of {vm_name}',
            timeout_s=self._merge_timeout_s, interval_s=_LOOK_INTERVAL_S,
            clock=self._clock)

    def _remove_new(self, vm_name: str, before: set[str]) -> None:
        for path in self._win.vm.get_vm_snapshots(vm_name):
            if path not in before:
                operation.bounded(
                    self._remove_one, path,
                    what=f'removal of a checkpoint of {vm_name}',
                    timeout_s=self._merge_timeout_s)

    def _remove_one(self, path: str) -> None:
        with jobwaits.within(self._merge_timeout_s):
            self._win.vm.remove_vm_snapshot(path)


def _parsed(note: str, vm_name: str,
            host: str) -> tuple[set[str] | None, int | None]:
    """Checkpoints that were there before, and their type, of a NOTE.

    None is what it does not tell; earlier releases noted neither type nor
    host. That of another host, which the VM was evacuated from, tells
    nothing of this host's checkpoints.
    """
    if not note:
        return None, None
    try:
        found = json.loads(note)
        if isinstance(found, list):
            found = {'checkpoints': found, 'type': None}
        if found.get('host', host) != host:
            return None, None
        return set(found['checkpoints']), found['type']
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        LOG.warning("What a snapshot of %s noted is damaged: %s. Only "
                    "checkpoints named %s... are removed.", vm_name, exc,
                    NAME_PREFIX)
        return None, None


def _is_of_checkpoint(path: str) -> bool:
    return path.lower().endswith(('.avhd', '.avhdx'))
