# SPDX-License-Identifier: Apache-2.0
r"""The definition of a VM as it moves from host to host.

What makes a VM that very VM is not in Nova's database: its GUID, the
firmware's variables, the virtual TPM with its keys, the identities of its
NICs. A VM that is made anew has others, and a guest whose disks are sealed
to the old TPM does not open them any more. So Hyper-V exports the definition
(configuration and guest state, no disks) and imports it as a *planned* VM.
That one loses what belongs to the other host (drives, ports of switches,
NICs that the instance has no more), gets its directories, is changed to the
flavor and realized. Drives and ports come back as in a new VM.
"""

import ntpath
from typing import Any

from oslo_log import log as logging

from compute_hyperv import errors
from compute_hyperv import model
from compute_hyperv import oswin
from compute_hyperv import paths as paths_module
from compute_hyperv import vmdrives

LOG = logging.getLogger(__name__)

#: Folders of an exported VM; Hyper-V names them.
FOLDER, _SNAPSHOTS = 'Virtual Machines', 'Snapshots'
#: All of them in lower case, and where a target puts an exported VM.
FOLDERS = frozenset(('virtual machines', 'snapshots', 'virtual hard disks',
                     'import'))
_SUFFIXES = ('.vmcx', '.xml')
_ROOTS = ('ConfigurationDataRoot', 'LogDataRoot', 'SnapshotDataRoot',
          'SuspendDataRoot', 'SwapFileDataRoot', 'GuestStateDataRoot')
#: What a VM has that nobody changed; HwThreadsPerCore 0: as the host.
_PLAIN_CPU = {'Weight': model.CPU_WEIGHT_DEFAULT, 'HwThreadsPerCore': 0,
              'ExposeVirtualizationExtensions': False}
_SAVE = int(model.ShutdownAction.SAVE)


class VmDefinitions:
    """Exports definitions of VMs and brings them in."""

    def __init__(self, win: oswin.Win, paths: paths_module.Paths) -> None:
        self._win = win
        self._paths = paths
        self._drives = vmdrives.VmDrives(win)

    def export(self, vm_name: str, directory: str) -> model.MovedDefinition:
        """Write the definition of a VM that is off into a directory.

        :param directory: it has no exported VM yet.
        """
        settings = self._win.vm._lookup_vm_check(vm_name)
        self._win.export_definition(vm_name, directory)
        names = self._paths.list_dir(ntpath.join(directory, FOLDER))
        definition = [name for name in names
                      if ntpath.splitext(name)[1].lower() in _SUFFIXES]
        if len(definition) != 1:
            raise errors.DiskOperationFailed(
                reason=f'{len(definition)} definitions of {vm_name} in '
                       f'{directory}')
        return model.MovedDefinition(
            file_name=definition[0], file_names=tuple(names),
            version=str(settings.Version),
            has_keys=self._has_keys(settings))

    def _has_keys(self, settings: Any) -> bool:
        if not self._win.caps.vtpm:
            return False
        return any(item.TpmEnabled or item.KsdEnabled for item in
                   self._below(settings.InstanceID,
                               'Msvm_SecuritySettingData'))

    def is_welcome(self, vm_name: str,
                   definition: model.MovedDefinition) -> bool:
        """Whether this Windows can take over the definition of a VM.

        If not, the VM can be made anew.

        :raises NotSupportedByHost: it has keys that would be lost.
        """
        if self._win.caps.runs_version(definition.version):
            return True
        text = (f'this host ({self._win.caps.windows}) does not run VMs of '
                f'configuration version {definition.version}')
        if definition.has_keys:
            raise errors.NotSupportedByHost(
                reason=f'{text}, and {vm_name} has keys that would be lost '
                       'if it was made anew')
        LOG.warning("%s is made anew: %s. Its guest sees another machine.",
                    vm_name, text)
        return False

    def bring_in(self, plan: model.InstancePlan, directory: str,
                 definition: model.MovedDefinition, home: str) -> None:
        """Import a definition as a planned VM that has no drives.

        The rest is up to the caller, who removes it if anything fails.

        :param directory: where :meth:`export` wrote it, or a copy.
        :param home: for the files of the VM.
        """
        snapshots = ntpath.join(directory, _SNAPSHOTS)
        self._paths.make_dir(snapshots)         # Windows wants to see it
        self._win.migration.import_vm_definition(
            ntpath.join(directory, FOLDER, definition.file_name), snapshots)
        for drive in self._drives.all_of(plan.vm_name):
            self._drives.remove(plan.vm_name, drive)
        owner = self._win.vm._lookup_vm_check(plan.vm_name).InstanceID
        self._keep_nics(plan, owner)
        self._reset_settings(plan, home)
        self._reset_cpu(owner)

    def realize(self, vm_name: str) -> None:
        """Make a VM that is off of the planned one."""
        self._win.migration.realize_vm(vm_name)

    def _keep_nics(self, plan: model.InstancePlan, owner: str) -> None:
        """Leave the NICs that the plan has, and no connection."""
        jobs = self._win.vm._jobutils
        wanted = {(nic.port_id, _digits(nic.mac)) for nic in plan.nics}
        for port in self._below(owner,
                                'Msvm_EthernetPortAllocationSettingData'):
            jobs.remove_virt_resource(port)
        for nic in self._below(owner,
                               'Msvm_SyntheticEthernetPortSettingData'):
            if (nic.ElementName, _digits(nic.Address or '')) not in wanted:
                jobs.remove_virt_resource(nic)

    def _reset_settings(self, plan: model.InstancePlan, home: str) -> None:
        """Give it its directories; what the old flavor asked for goes."""
        settings = self._win.vm._lookup_vm_check(plan.vm_name,
                                                 for_update=True)
        for name in _ROOTS:
            if hasattr(settings, name):
                setattr(settings, name, home)
        settings.AutomaticShutdownAction = _SAVE
        if (plan.machine.generation is model.Generation.TWO
                and not plan.machine.security.secure_boot):
            settings.SecureBootEnabled = False
        self._win.vm._modify_virtual_system(settings)

    def _reset_cpu(self, owner: str) -> None:
        cpu = self._below(owner, 'Msvm_ProcessorSettingData')[0]
        changes = {name: value for name, value in _PLAIN_CPU.items()
                   if getattr(cpu, name, None) not in (None, value)}
        for name, value in changes.items():
            setattr(cpu, name, value)
        if changes:
            self._win.vm._jobutils.modify_virt_resource(cpu)

    def _below(self, owner: str, wmi_class: str) -> list[Any]:
        """What settings with that InstanceID consist of."""
        return list(self._win.vm._compat_conn.query(
            f"SELECT * FROM {wmi_class} WHERE InstanceID LIKE '{owner}%'"))


def _digits(mac: str) -> str:
    return mac.replace(':', '').replace('-', '').upper()
