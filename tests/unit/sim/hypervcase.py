# SPDX-License-Identifier: Apache-2.0
"""Base of the tests of Hyper-V's semantics.

They go through the ``wmi`` stand-in and, where it says the same in fewer
words, through os-win; both end in the same provider calls.
"""

import fixtures

from compute_hyperv import oswin_loader
from compute_hyperv.sim import errors  # noqa: F401
from compute_hyperv.sim import fabric as sim_fabric
from compute_hyperv.sim import install
from compute_hyperv.sim.wmi import storage as sim_storage
from tests import base

install.install()

from os_win import constants  # noqa: E402
from os_win import exceptions  # noqa: E402

V2 = '//./root/virtualization/v2'
SERVICE = 'Msvm_VirtualSystemManagementService'
VSSD = 'Msvm_VirtualSystemSettingData'
RASD = 'Msvm_ResourceAllocationSettingData'
SASD = 'Msvm_StorageAllocationSettingData'
HV = 'Microsoft:Hyper-V:'
WINDOWS = ('2012R2', '2016', '2019', '2022', '2025')
STARTED = 4096
GIB = 1 << 30

STATES = {'running': 2, 'off': 3, 'saved': 6, 'paused': 9}


class HyperVTestCase(base.TestCase, fixtures.TestWithFixtures):
    """One host, ``self.host``; ``WINDOWS`` and ``HOST`` describe it."""

    WINDOWS = '2022'
    HOST = {}
    CLOCK = 'instant'
    #: Most tests are about a VM's power, not about what is on its disks.
    NEEDS_BOOT_SOURCE = False
    x_wmi = exceptions.x_wmi

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.FakeLogger())      # os-win logs refusals
        self.make_host(self.WINDOWS)

    def make_host(self, windows, **facts):
        """Replace the host by one of another description."""
        folder = self.useFixture(fixtures.TempDir()).path
        self.fabric = sim_fabric.Fabric(
            folder, hosts=[dict(self.HOST, name='HV1', windows=windows,
                                **facts)], clock=self.CLOCK)
        self.addCleanup(self.fabric.close)
        self.host = self.fabric.host('HV1')
        self.relax_boot()
        with self.fabric.on('HV1'):
            bound = oswin_loader.bind()
        self.files = bound.files
        self.vmutils = bound.utilsfactory.get_vmutils()
        self.net = bound.utilsfactory.get_networkutils()
        self.vhd = bound.utilsfactory.get_vhdutils()
        self.bound = bound
        self.wmi = self.vmutils._conn

    def relax_boot(self):
        """Let VMs without disks come up, unless the tests say no."""
        for host in self.fabric.hosts.values():
            host.vms.behaviours.default.needs_boot_source = (
                self.NEEDS_BOOT_SOURCE)

    # -- VMs
    @property
    def service(self):
        return getattr(self.wmi, SERVICE)()[0]

    def create_vm(self, name='vm', generation=2, memory_mib=512, vcpus=1,
                  **settings):
        """A VM without drives; returns its Msvm_ComputerSystem."""
        folder = 'C:\\VMs\\' + name
        if not self.files.exists(folder):
            self.files.make_dirs(folder)
        self.vmutils.create_vm(name, False, generation, folder, [name])
        self.vmutils.update_vm(name, memory_mib, None, vcpus, None, False,
                               1.0)
        if settings:
            self.assertEqual(0, self.modify_settings(name, **settings))
        return self.system(name)

    def system(self, name='vm'):
        return self.wmi.Msvm_ComputerSystem(ElementName=name)[0]

    def settings(self, name='vm'):
        return [one for one in self.wmi.Msvm_VirtualSystemSettingData(
            ElementName=name)
            if one.VirtualSystemType == HV + 'System:Realized'][0]

    def state(self, name='vm'):
        return self.system(name).EnabledState

    def record(self, name='vm'):
        """The VM as the simulator sees it."""
        return self.host.vms.named(name)

    def modify_settings(self, name='vm', **changes):
        """ModifySystemSettings; returns the code."""
        settings = self.settings(name)
        for key, value in changes.items():
            setattr(settings, key, value)
        return self.service.ModifySystemSettings(
            SystemSettings=settings.GetText_(1))[1]

    def request_state(self, requested, name='vm'):
        """RequestStateChange; returns the code."""
        return self.system(name).RequestStateChange(requested)[1]

    def start(self, name='vm'):
        self.vmutils.set_vm_state(name, constants.HYPERV_VM_STATE_ENABLED)

    def turn_off(self, name='vm'):
        self.vmutils.set_vm_state(name, constants.HYPERV_VM_STATE_DISABLED)

    def bring_to(self, state, name='vm'):
        """From off to 'running', 'saved', 'paused' or stay 'off'."""
        if state == 'off':
            return
        self.start(name)
        if state != 'running':
            self.request_state(STATES[state], name)
        self.assertEqual(STATES[state], self.state(name))

    # -- resources
    def template(self, cls, subtype=None):
        """A Default definition."""
        where = "InstanceID LIKE '%\\Default'"
        if subtype:
            where += " AND ResourceSubType = '%s%s'" % (HV, subtype)
        return self.wmi.query('SELECT * FROM %s WHERE %s' % (cls, where))[0]

    def resources(self, name='vm', cls=RASD, subtype=None):
        prefix = self.settings(name).InstanceID
        found = self.wmi.query("SELECT * FROM %s WHERE InstanceID LIKE "
                               "'%s%%'" % (cls, prefix))
        return [one for one in found
                if subtype is None or one.ResourceSubType == HV + subtype]

    def add(self, resource, name='vm'):
        """AddResourceSettings of one resource: (job, paths, code)."""
        return self.service.AddResourceSettings(
            self.settings(name).path_(), [resource.GetText_(1)])

    def modify(self, resource, **changes):
        """ModifyResourceSettings of one resource: (job, paths, code)."""
        for key, value in changes.items():
            setattr(resource, key, value)
        return self.service.ModifyResourceSettings(
            ResourceSettings=[resource.GetText_(1)])

    def remove(self, resource):
        """RemoveResourceSettings of one resource: (job, code)."""
        return self.service.RemoveResourceSettings(
            ResourceSettings=[resource.path_()])

    def add_controller(self, name='vm'):
        """Add a SCSI controller: (job, paths, code)."""
        return self.add(self.template(RASD, 'Synthetic SCSI Controller'),
                        name)

    def add_drive(self, controller, slot, name='vm',
                  subtype='Synthetic Disk Drive'):
        """Add an empty drive: (job, paths, code)."""
        drive = self.template(RASD, subtype)
        drive.Parent = controller
        drive.AddressOnParent = slot
        return self.add(drive, name)

    def add_medium(self, drive, path, name='vm',
                   subtype='Virtual Hard Disk'):
        """Put a file into a drive: (job, paths, code)."""
        medium = self.template(SASD, subtype)
        medium.Parent = drive
        medium.HostResource = [path]
        return self.add(medium, name)

    def make_disk(self, path='C:\\VMs\\vm\\disk.vhdx', size_bytes=GIB):
        """A dynamic virtual disk."""
        self.vhd.create_dynamic_vhd(path, size_bytes)
        return path

    def add_host_disk(self, bus_type=sim_storage.ISCSI):
        """A disk that the host sees; returns its number."""
        return sim_storage.add_disk(self.host, sim_storage.HostDisk(
            location='bus', size_bytes=GIB, bus_type=bus_type))

    def attach_disk(self, path=None, name='vm'):
        """A SCSI disk in the first free slot; returns its path."""
        path = path or self.make_disk('C:\\VMs\\%s\\disk.vhdx' % name)
        if self.vmutils.get_vm_scsi_controller(name) is None:
            self.vmutils.create_scsi_controller(name)
        self.vmutils.attach_scsi_drive(name, path)
        return path

    def add_nic(self, name='vm', nic='nic', mac='02:15:5D:00:00:01'):
        self.vmutils.create_nic(name, nic, mac)
        return self.wmi.Msvm_SyntheticEthernetPortSettingData(
            ElementName=nic)[0]

    def connect(self, nic='nic', switch='external'):
        """Connect an adapter; returns the port allocation."""
        self.net.connect_vnic_to_vswitch(switch, nic)
        return self.wmi.Msvm_EthernetPortAllocationSettingData(
            ElementName=nic)[0]

    # -- jobs and errors
    def job(self, path):
        return self.vmutils._get_wmi_obj(path.replace('\\', '/'))

    def assert_job_failed(self, path, *words, code=32768):
        """The job is in exception with that code and those words."""
        job = self.job(path)
        self.assertEqual((10, code), (job.JobState, job.ErrorCode))
        for word in words:
            self.assertIn(word, job.ErrorDescription)

    def assert_not_found(self, path):
        """Nothing is at an object path any more."""
        self.assertIsNone(self.host.v2.by_path(path), path)

    def everything(self):
        """Every record but jobs: path -> properties but times."""
        return {one.path: {name: value for name, value in one.props.items()
                           if not name.startswith('TimeOfLast')}
                for one in self.host.v2.all() if 'Job' not in one.cls.name}

    def assert_unchanged(self, before):
        """Nothing but jobs differs from :meth:`everything` before."""
        now = self.everything()
        self.assertEqual([], sorted(set(now) - set(before)), 'new')
        self.assertEqual([], sorted(set(before) - set(now)), 'gone')
        self.assertEqual([], [(path, before[path], now[path])
                              for path in now if now[path] != before[path]])
