# SPDX-License-Identifier: Apache-2.0
"""What a test reads of a simulated host: the outcome, not the way to it."""

import dataclasses
import ntpath

from os_win import constants

from compute_hyperv.sim import devices
from compute_hyperv.sim import install
from compute_hyperv.sim import vm as sim_vm


#: EnabledState -> the name that os-win has for it.
_OSWIN_STATES = {
    sim_vm.RUNNING: constants.HYPERV_VM_STATE_ENABLED,
    sim_vm.OFF: constants.HYPERV_VM_STATE_DISABLED,
    sim_vm.PAUSED: constants.HYPERV_VM_STATE_PAUSED,
    sim_vm.SAVED: constants.HYPERV_VM_STATE_SUSPENDED,
}


@dataclasses.dataclass(frozen=True)
class Drive:
    """A disk or DVD with a medium in it, and where it is plugged in."""

    path: str           #: Windows path
    bus: str            #: 'ide' or 'scsi'
    controller: int
    lun: int
    is_dvd: bool

    @property
    def name(self):
        return ntpath.basename(self.path)


@dataclasses.dataclass(frozen=True)
class Nic:
    """A network adapter."""

    port_id: str        #: ElementName: the Neutron port
    mac: str            #: 12 hex digits, upper case
    switch: str         #: name of the switch, '' when not connected
    may_spoof: bool     #: send with other MAC addresses
    limit_bps: int      #: bandwidth, 0 for no limit


class VmView:
    """A VM as an administrator sees it."""

    def __init__(self, vm):
        self.vm = vm

    @property
    def state(self):
        """'running', 'off', 'paused', 'saved', ..."""
        return sim_vm.state_name(self.vm.state)

    @property
    def generation(self):
        return self.vm.generation

    @property
    def memory_mib(self):
        return int(self.vm.memory['VirtualQuantity'])

    @property
    def vcpus(self):
        return int(self.vm.processor['VirtualQuantity'])

    @property
    def settings(self):
        """The Msvm_VirtualSystemSettingData."""
        return self.vm.settings

    @property
    def notes(self):
        return list(self.vm.settings['Notes'] or ())

    @property
    def drives(self):
        """Drives by bus, controller and LUN."""
        found = [self._drive(medium) for medium in self.vm.media()]
        return sorted(found, key=lambda drive: (
            drive.bus, drive.controller, drive.lun))

    @property
    def physical_disks(self):
        """Tags of the disks of the host that are passed through."""
        return [drive['ElementName'] for drive in self.vm.resources(
            devices.RASD, devices.PHYSICAL_DISK)]

    def drive(self, name):
        """The drive with the medium of that file name."""
        return next(drive for drive in self.drives if drive.name == name)

    def _drive(self, medium):
        store = self.vm.host.v2
        drive = store.by_path(medium['Parent'])
        controller = store.by_path(drive['Parent'])
        bus = ('ide' if controller['ResourceSubType']
               == devices.IDE_CONTROLLER else 'scsi')
        controllers = self.vm.resources(
            devices.RASD, controller['ResourceSubType'])
        return Drive(
            path=medium['HostResource'][0], bus=bus,
            controller=[item.path for item in controllers].index(
                controller.path),
            lun=int(drive['AddressOnParent']),
            is_dvd=drive['ResourceSubType'] == devices.DVD_DRIVE)

    @property
    def boot_order(self):
        """File names in generation 2's boot order, '' for a NIC."""
        store = self.vm.host.v2
        names = {}
        for medium in self.vm.media():
            identity = store.find_one('Msvm_LogicalIdentity',
                                      SystemElement=medium['Parent'])
            names[identity['SameElement'].upper()] = ntpath.basename(
                medium['HostResource'][0])
        return [names.get(source.upper(), '')
                for source in self.settings['BootSourceOrder']]

    @property
    def nics(self):
        return [self._nic(nic) for nic in self.vm.resources(devices.NIC)]

    def _nic(self, nic):
        store = self.vm.host.v2
        switch, features = '', []
        for port in self.vm.children(nic):
            for path in port.get('HostResource') or ():
                switch = store.by_path(path)['ElementName']
            features += store.under(
                port['InstanceID'],
                'Msvm_EthernetSwitchPortFeatureSettingData')
        return Nic(port_id=nic['ElementName'],
                   mac=(nic['Address'] or '').upper(), switch=switch,
                   may_spoof=any(feature.get('AllowMacSpoofing')
                                 for feature in features),
                   limit_bps=sum(int(feature.get('Limit') or 0)
                                 for feature in features))

    @property
    def boot(self):
        """Another value after every start and every restart of the guest."""
        worker = self.vm.worker
        return worker and (worker.pid, worker.guest.boots)

    @property
    def serial_pipes(self):
        """Pipe names by COM port, '' for a port without one."""
        ports = self.vm.resources(devices.SERIAL)
        return [(port['Connection'] or [''])[0] for port in ports]


class HostView:
    """A simulated host as a test sees it."""

    def __init__(self, host):
        self.host = host

    @property
    def vm_names(self):
        return sorted(vm.name for vm in self.host.vms)

    def vm(self, name):
        """The VM of that name; LookupError without it."""
        return VmView(self.host.vms.named(name))

    def exists(self, path):
        return self.host.storage.exists(path)

    # What an administrator does on the host, with an os-win of his own.

    @property
    def _vmutils(self):
        return install.bound(self.host).utilsfactory.get_vmutils()

    def request_state(self, vm, state):
        """Bring a VM into that state (``sim.vm.OFF`` ...)."""
        if vm.vm.state != state:
            self._vmutils.set_vm_state(vm.vm.name, _OSWIN_STATES[state])

    def reset_vm(self, vm):
        """Press the reset button of a running VM."""
        self._vmutils.set_vm_state(vm.vm.name,
                                   constants.HYPERV_VM_STATE_REBOOT)

    def turn_off(self, vm):
        """Pull the plug."""
        self.request_state(vm, sim_vm.OFF)

    def destroy_vm(self, vm):
        """Remove a VM; its files stay."""
        self.turn_off(vm)
        self._vmutils.destroy_vm(vm.vm.name)

    def rename_vm(self, vm, name):
        """Give a VM another name."""
        settings = self._vmutils._lookup_vm_check(vm.vm.name)
        settings.ElementName = name
        self._vmutils._modify_virtual_system(settings)

    def create_vm(self, name):
        """Define a VM that Nova knows nothing of."""
        self._vmutils.create_vm(name, False, 1, None)
