# SPDX-License-Identifier: Apache-2.0
"""What a migration needs (hyperv-semantics.md section 11)."""

import ddt

from compute_hyperv.sim.wmi import storage as sim_storage
from tests.unit.sim import test_migration
from tests.unit.sim import twohosts

FEATURES = [3, 6, 8, 9, 10, 12, 13, 17, 20, 21]
LESS = FEATURES[:-4] + [20, 21]


class RuleCase(test_migration.MoveCase):
    """Refused migrations change nothing on either host."""

    def service_settings(self, host):
        return host.v2.find(
            'Msvm_VirtualSystemMigrationServiceSettingData')[0]

    def template(self, cls, subtype=None):
        if isinstance(cls, int):
            return self.wmi.Msvm_VirtualSystemMigrationSettingData(
                MigrationType=cls)[0]
        return super().template(cls, subtype)

    def ask(self, method='MigrateVirtualSystemToHost', kind=32771,
            destination='HV2', system=None, resources=None, **settings):
        """A method of the migration service: what it returns."""
        template = self.template(kind)
        for name, value in settings.items():
            setattr(template, name, value)
        service = self.wmi.Msvm_VirtualSystemMigrationService()[0]
        return getattr(service, method)(
            ComputerSystem=system or self.system().path_(),
            DestinationHost=destination, NewResourceSettingData=resources,
            MigrationSettingData=template.GetText_(1))

    def assert_refused(self, *words, code=32768, **what):
        """The job fails, and also the check says so."""
        there = {one.path: one.props for one in self.other.v2.all()}
        here = self.everything()
        job, returned = self.ask(**what)
        self.assertEqual(4096, returned)
        self.assert_job_failed(job, *words, code=code)
        self.assert_unchanged(here)
        self.assertEqual(there, {one.path: one.props
                                 for one in self.other.v2.all()})
        return job


@ddt.ddt
class HostRulesTest(RuleCase):
    """Both hosts are set up, reachable and alike."""

    @ddt.data('host', 'other')
    def test_disabled(self, which):
        """Both hosts enabled."""
        self.make_machine()
        self.host.v2.update(self.service_settings(getattr(self, which)),
                            EnableVirtualSystemMigration=False) if (
            which == 'host') else self.other.v2.update(
            self.service_settings(self.other),
            EnableVirtualSystemMigration=False)
        self.assert_refused('not enabled', code=32770)
        if which == 'host':
            self.assertRaisesRegex(
                twohosts.exceptions.HyperVException, 'not enabled',
                self.migration.check_live_migration_config)

    @ddt.data(('HV3', None), ('HV2', 'cut'), ('HV2', 'off'), ('HV1', None))
    @ddt.unpack
    def test_unreachable(self, destination, why):
        """Reachable; another host."""
        self.make_machine()
        if why == 'cut':
            self.fabric.cut('HV1', 'HV2')
        elif why == 'off':
            self.other.power_off()
        code = 32773 if destination == 'HV1' else 32768
        self.assert_refused(destination=destination, code=code)

    def test_wrong_address(self):
        """Only where the destination's service listens."""
        self.make_machine()
        self.assert_refused('does not listen',
                            DestinationIPAddressList=['127.9.9.9'])

    def test_maximum(self):
        """At most MaximumActiveVirtualSystemMigration at a time."""
        self.make_machine()
        self.create_vm('second')
        self.host.v2.update(self.service_settings(self.host),
                            MaximumActiveVirtualSystemMigration=1)
        with self.host.jobs.held(306, 50):
            self.ask(system=self.system('second').path_())
            service = self.wmi.Msvm_VirtualSystemMigrationService()[0]
            self.assertEqual(1, service.ActiveVirtualSystemMigrationCount)
            self.assert_refused('as many', code=32774)
        self.assertEqual(2, self.move() and 2)

    def test_identity(self):
        """A VM of the same GUID is there already."""
        self.make_machine()
        self.migration2.create_planned_vm('vm', 'HV1', {})
        self.assert_refused('0x800700B7')
        self.assertEqual(1, len(self.other.vms.planned()))
        self.assert_refused('no planned', code=32773,
                            DestinationPlannedVirtualSystemId='0')


@ddt.ddt
class ProcessorTest(RuleCase):
    """Same vendor; the features, or LimitProcessorFeatures."""

    @ddt.data(
        ({'cpu_vendor': 'AuthenticAMD'}, False, 'another vendor'),
        ({'cpu_vendor': 'AuthenticAMD'}, True, 'another vendor'),
        ({'processor_features': LESS}, False, 'processor-specific'),
        ({'processor_features': LESS}, True, None),
        ({}, False, None))
    @ddt.unpack
    def test_running(self, there, limited, refused):
        self.OTHER = {'extra': dict(there, live_migration=True)}
        self.make_host('2022')
        self.make_machine()
        processor = self.resources(cls='Msvm_ProcessorSettingData')[0]
        self.modify(processor, LimitProcessorFeatures=limited)
        self.start()
        info = self.wmi.Msvm_VirtualSystemMigrationService()[
            0].GetSystemCompatibilityInfo(self.system().path_())[0]
        there_service = self.vmutils2._conn.query(
            'SELECT * FROM Msvm_VirtualSystemMigrationService')[0]
        reasons, code = there_service.CheckSystemCompatibilityInfo(info)
        self.assertEqual(32784 if refused else 0, code)
        self.assertEqual(bool(refused), bool(reasons))
        if refused:
            self.assert_refused(refused, code=32770)
        else:
            self.assertEqual(2, self.move().state)

    def test_off(self):
        """A VM that is off goes to any processor."""
        self.OTHER = {'extra': {'cpu_vendor': 'AuthenticAMD',
                                'live_migration': True}}
        self.make_host('2022')
        self.make_machine()
        self.assertEqual(3, self.move().state)


@ddt.ddt
class MachineRulesTest(RuleCase):
    """The VM itself."""

    @ddt.data('paused', 'planned')
    def test_state(self, state):
        """Paused ones cannot; planned ones are no computer systems."""
        self.make_machine()
        if state == 'paused':
            self.bring_to('paused')
            self.assertEqual(32775, self.ask()[1])
            self.assertEqual((False, 0), self.ask(
                'CheckVirtualSystemIsMigratableToHost'))
        self.assertEqual(32773, self.ask(kind=32772)[1])    # only a check

    def test_version(self):
        """The destination supports the VM's version [D]."""
        self.OTHER = {'windows': '2016'}
        self.make_host('2022')
        self.make_machine()
        self.assert_refused('version 10.0', code=32770)

    def test_switch(self):
        """Switch of the same name, else "could not find"."""
        self.OTHER = {'switches': ['other']}
        self.make_host('2022')
        self.make_machine()
        self.assert_refused('could not find Ethernet switch', 'external')

    def test_planned_vm_maps_the_switch(self):
        """... unless a planned VM maps it."""
        self.OTHER = {'switches': ['other']}
        self.make_host('2022')
        self.make_machine()
        self.start()
        self.migration2.create_planned_vm('vm', 'HV1', {})
        there = self.vmutils2._conn
        port = there.query("SELECT * FROM "
                           "Msvm_EthernetPortAllocationSettingData WHERE "
                           "InstanceID LIKE 'Microsoft:%s%%'" %
                           self.record().guid)[0]
        switch = there.Msvm_VirtualEthernetSwitch(ElementName='other')[0]
        port.HostResource = [switch.path_()]
        service = there.query(
            'SELECT * FROM Msvm_VirtualSystemManagementService')[0]
        self.assertEqual(0, service.ModifyResourceSettings(
            ResourceSettings=[port.GetText_(1)])[2])
        new = self.move()
        self.assertEqual(2, new.state)
        found = new.resources('Msvm_EthernetPortAllocationSettingData')[0]
        self.assertEqual(switch.path_(), found['HostResource'][0])

    def test_mounted_iso(self):
        """No mounted host-only ISO; with one at that path it goes."""
        self.make_machine()
        iso = self.write('C:\\VMs\\vm\\configdrive.iso', b'iso')
        self.vmutils.attach_drive('vm', iso, self.vmutils.
                                  get_vm_scsi_controller('vm'), 5,
                                  'DVD')
        self.start()
        self.assert_refused('configdrive.iso', '0x80070002')
        self.write(iso, b'iso', self.there.files)
        self.assertEqual(2, self.move().state)
        self.assertTrue(self.files.exists(iso))

    def test_memory(self):
        """The destination has to have the memory: 32778."""
        self.OTHER = {'memory_mib': 1400}
        self.make_host('2022')
        self.make_machine()
        self.start()
        self.assert_refused('0x800705AA', code=32778)

    def test_full_disk(self):
        """No room at the destination: 0x80070070."""
        self.OTHER = {'volumes': {'C': 0.001}}
        self.make_host('2022')
        self.make_machine()
        self.start()
        self.assert_refused('0x80070070')
        self.assertFalse(self.other.storage.exists('C:\\VMs'))

    def test_assigned_device(self):
        """No live migration with devices assigned [D]."""
        self.make_host('2022', extra={
            'live_migration': True, 'pci': [{
                'vendor_id': '10DE', 'product_id': '13F2',
                'address': '0000:04:00.0'}]})
        self.make_machine(AutomaticShutdownAction=2)
        self.vmutils.add_pci_device('vm', '10DE', '13F2')
        self.assert_refused('discrete device', code=32770)

    @ddt.data(False, True)
    def test_physical_disk(self, mapped):
        """A pass-through disk is mapped by a planned VM, or the VM stays."""
        self.make_machine()
        for host, unique_id in ((self.host, 'one'), (self.other, 'two')):
            number = sim_storage.add_disk(host, sim_storage.HostDisk(
                location='bus', size_bytes=1 << 30, bus_type=9,
                unique_id=unique_id, offline=True))
        drive = self.vmutils.get_mounted_disk_by_drive_number(number)
        self.vmutils.attach_volume_to_controller(
            'vm', self.vmutils.get_vm_scsi_controller('vm'), 7, drive,
            serial='volume')
        self.start()
        if not mapped:
            self.assert_refused('physical disk', '0x80070002')
            return
        there = self.vmutils2.get_mounted_disk_by_drive_number(number)
        self.migration2.create_planned_vm('vm', 'HV1', {'volume': there})
        new = self.move()
        disk = new.resources('Msvm_ResourceAllocationSettingData',
                             'Microsoft:Hyper-V:Physical Disk Drive')[0]
        self.assertEqual((there,), disk['HostResource'])

    def test_physical_disk_with_the_same_identity(self):
        """The same LUN, seen by both hosts under other numbers."""
        self.make_machine()
        sim_storage.add_disk(self.other, sim_storage.HostDisk(
            location='bus', size_bytes=1 << 30, bus_type=9))
        numbers = [sim_storage.add_disk(host, sim_storage.HostDisk(
            location='bus', size_bytes=1 << 30, bus_type=9,
            unique_id='lun', offline=True))
            for host in (self.host, self.other)]
        self.assertNotEqual(*numbers)
        self.vmutils.attach_volume_to_controller(
            'vm', self.vmutils.get_vm_scsi_controller('vm'), 7,
            self.vmutils.get_mounted_disk_by_drive_number(numbers[0]))
        self.start()
        disk = self.move().resources(
            'Msvm_ResourceAllocationSettingData',
            'Microsoft:Hyper-V:Physical Disk Drive')[0]
        self.assertEqual(
            self.vmutils2.get_mounted_disk_by_drive_number(numbers[1]),
            disk['HostResource'][0])


class ServiceTest(RuleCase):
    """Settings and checks of the service."""

    def test_defaults(self):
        """Off, two at a time, no addresses; enabled it listens."""
        self.HOST = {'extra': {}}
        self.make_host('2022')
        cls = self.wmi.Msvm_VirtualSystemMigrationServiceSettingData
        settings = cls()[0]
        self.assertEqual((False, 2, 2, True, False), (
            settings.EnableVirtualSystemMigration,
            settings.MaximumActiveVirtualSystemMigration,
            settings.MaximumActiveStorageMigration,
            settings.EnableCompression, settings.EnableSmbTransport))
        service = self.wmi.Msvm_VirtualSystemMigrationService()[0]
        self.assertEqual((), service.MigrationServiceListenerIPAddressList)
        settings.EnableVirtualSystemMigration = True
        self.assertEqual(0, service.ModifyServiceSettings(
            settings.GetText_(1))[1])
        service = self.wmi.Msvm_VirtualSystemMigrationService()[0]
        self.assertEqual(('127.0.1.1',),
                         service.MigrationServiceListenerIPAddressList)
        self.migration.check_live_migration_config()

    def test_templates(self):
        """One settings template per type (oswin-surface.md 3.4)."""
        for kind in (32768, 32769, 32770, 32771, 32772):
            self.assertEqual(5, self.template(kind).TransportType)

    def test_checks(self):
        """CheckVirtualSystemIsMigratable(ToHost) change nothing."""
        self.make_machine()
        before = self.everything()
        job, code = self.ask('CheckVirtualSystemIsMigratable')
        self.assertEqual((4096, 7), (code, self.job(job).JobState))
        self.assertEqual((True, 0), self.ask(
            'CheckVirtualSystemIsMigratableToHost'))
        self.fabric.cut('HV1', 'HV2')
        self.assert_job_failed(self.ask('CheckVirtualSystemIsMigratable')[
            0], '0x8007274D')
        self.assertEqual((False, 0), self.ask(
            'CheckVirtualSystemIsMigratableToHost'))
        self.assert_unchanged(before)

    def test_networks(self):
        """Add-, Modify- and RemoveNetworkSettings."""
        service = self.wmi.Msvm_VirtualSystemMigrationService()[0]
        network = self.wmi.Msvm_VirtualSystemMigrationNetworkSettingData
        new = network.new()
        new.SubnetNumber, new.PrefixLength = '127.0.1.0', 24
        self.assertEqual(0, service.AddNetworkSettings([
            new.GetText_(1)])[1])
        one = network()[0]
        one.Metric = 5
        self.assertEqual(0, service.ModifyNetworkSettings([
            one.GetText_(1)])[1])
        self.assertEqual(5, network()[0].Metric)
        self.assertEqual(0, service.RemoveNetworkSettings([
            one.path_()])[1])
        self.assertEqual([], network())
