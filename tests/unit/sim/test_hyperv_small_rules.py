# SPDX-License-Identifier: Apache-2.0
"""Smaller rules of hyperv-semantics.md, section by section."""

import ddt

from compute_hyperv.sim import profiles
from compute_hyperv.sim.wmi import ops
from tests.unit.sim import hypervcase
from tests.unit.sim.hypervcase import RASD
from tests.unit.sim.hypervcase import SASD

INVALID_PARAMETER = 32773
ELEMENT = 'Msvm_ElementSettingData'
DEFINED = 'Msvm_MetricDefForME'
NIC = 'Msvm_SyntheticEthernetPortSettingData'


@ddt.ddt
class DefinitionTest(hypervcase.HyperVTestCase):
    """Section 1: Default, also Minimum, Maximum, Increment."""

    def definition(self, cls, kind, subtype=''):
        where = "InstanceID LIKE '%%\\%s'" % kind
        if subtype:
            where += " AND ResourceSubType = '%s%s'" % (
                hypervcase.HV, subtype)
        found, = self.wmi.query('SELECT * FROM %s WHERE %s' % (cls, where))
        return found

    @ddt.data(('Memory', 32, 240 << 20, 2), ('Processor', 1, 1024, 1))
    @ddt.unpack
    def test_bounds(self, what, low, high, step):
        """Sections 5 and 18."""
        cls = 'Msvm_%sSettingData' % what
        self.assertEqual([low, high, step], [
            self.definition(cls, kind).VirtualQuantity
            for kind in ('Minimum', 'Maximum', 'Increment')])

    @ddt.data('Default', 'Minimum', 'Maximum', 'Increment')
    def test_every_subtype_has_one(self, kind):
        disk = self.definition(RASD, kind, 'Synthetic Disk Drive')
        self.assertEqual(17, disk.ResourceType)
        self.assertRegex(disk.InstanceID,
                         r'^Microsoft:Definition\\[0-9A-F-]{36}\\' + kind)


class ElementTest(hypervcase.HyperVTestCase):
    """Section 1: Msvm_ElementSettingData (IsCurrent/IsDefault/IsNext)."""

    def test_current_settings(self):
        system = self.create_vm()
        link, = getattr(self.wmi, ELEMENT)()
        self.assertEqual((1, 2, 1), (link.IsCurrent, link.IsDefault,
                                     link.IsNext))
        record = self.host.v2.find(ELEMENT)[0]
        self.assertEqual((system.path_(), self.settings().path_()),
                         (record['ManagedElement'], record['SettingData']))
        self.vmutils.destroy_vm('vm')
        self.assertEqual([], getattr(self.wmi, ELEMENT)())


@ddt.ddt
class MetricsTest(hypervcase.HyperVTestCase):
    """Section 12: Msvm_MetricDefForME and who ControlMetrics means."""

    def setUp(self):
        super().setUp()
        self.create_vm()
        self.attach_disk()
        self.definition = self.wmi.CIM_BaseMetricDefinition(
            ElementName='Disk Data Read')[0]

    def control(self, **what):
        return self.wmi.Msvm_MetricService()[0].ControlMetrics(**what)[0]

    def values(self):
        return [one.ElementName for one in self.wmi.CIM_BaseMetricValue()]

    def collected(self):
        return [one['MetricCollectionEnabled'] for one in self.host.v2.find(
            DEFINED, Dependent=self.definition.path_())]

    def test_what_an_element_has(self):
        links = getattr(self.wmi, DEFINED)()
        self.assertEqual(8, len(links))         # 4 of the VM, 4 of its disk
        self.assertEqual([3], self.collected())
        self.control(Definition=self.definition.path_(),
                     MetricCollectionEnabled=2)
        getattr(self.wmi, DEFINED)()
        self.assertEqual([2], self.collected())
        self.vmutils.destroy_vm('vm')
        self.assertEqual([], self.host.v2.find(DEFINED))

    def test_associators(self):
        found = self.system().associators(wmi_association_class=DEFINED)
        self.assertEqual(4, len(found))

    def test_definition_alone(self):
        """All elements that have it."""
        self.create_vm('second')
        self.attach_disk(name='second')
        self.assertEqual(0, self.control(
            Definition=self.definition.path_(), MetricCollectionEnabled=2))
        self.assertEqual(['Disk Data Read'] * 2, self.values())

    @ddt.data({}, {'MetricCollectionEnabled': 7})
    def test_refused(self, what):
        """Both null, or an unknown request."""
        self.assertIn(self.control(**dict(
            {'MetricCollectionEnabled': 2}, **what) if not what else dict(
                what, Definition=self.definition.path_())), (1, 2))
        self.assertEqual([], self.values())

    def test_element_without_that_metric(self):
        """Both set without association."""
        self.assertIn(self.control(
            Subject=self.system().path_(), MetricCollectionEnabled=2,
            Definition=self.definition.path_()), (1, 2))


@ddt.ddt
class JobTest(hypervcase.HyperVTestCase):
    """Section 3: RequestStateChange of a job, codes [D]."""

    def setUp(self):
        super().setUp()
        self.create_vm()

    @ddt.data((2, 4097), (3, 1), (4, 1), (5, 1), (6, 1), (7, 5), (0, 5))
    @ddt.unpack
    def test_running(self, wanted, code):
        with self.host.jobs.held(12):
            job = self.job(self.system().RequestStateChange(2)[0])
            self.assertEqual((code,), job.RequestStateChange(wanted))

    @ddt.data(2, 3, 4, 5, 6)
    def test_ended(self, wanted):
        job = self.job(self.system().RequestStateChange(2)[0])
        self.assertEqual((4097,), job.RequestStateChange(wanted))

    def test_timeout(self):
        """PyMI cannot send one."""
        with self.host.jobs.held(12):
            job = self.job(self.system().RequestStateChange(2)[0])
            self.assertEqual(4098, ops.invoke(
                self.host, '.', 'root/virtualization/v2',
                'Msvm_ConcreteJob', job.path_(), 'RequestStateChange', {
                    'RequestedState': 4, 'TimeoutPeriod':
                    '00000000000010.000000:000'})['ReturnValue'])


@ddt.ddt
class LimitTest(hypervcase.HyperVTestCase):
    """Sections 14, 16 and 18."""

    @ddt.data(('2012R2', 320, 4), ('2016', 512, 24), ('2019', 512, 24),
              ('2022', 1024, 256), ('2025', 2048, 256))
    @ddt.unpack
    def test_host(self, windows, cpus, memory_tb):
        """Section 18: logical processors and memory per host."""
        profile = profiles.profile(windows)
        self.assertEqual((cpus, memory_tb << 20), (
            profile.logical_processors, profile.memory_mib))
        for facts in ({'cpus': cpus + 1},
                      {'memory_mib': (memory_tb << 20) + 1}):
            with self.assertRaisesRegex(ValueError, 'at most'):
                self.make_host(windows, **facts)

    def test_sixty_fifth_device(self):
        """Section 14: up to 64 devices."""
        self.make_host('2022', extra={'pci': [
            {'vendor_id': '10DE', 'product_id': '13F2',
             'address': '0000:%02x:00.0' % number}
            for number in range(65)]})
        self.create_vm(AutomaticShutdownAction=2)
        cls = 'Msvm_PciExpressSettingData'
        devices = [record.path for record in self.host.v2.find(
            'Msvm_PciExpress')]
        codes = []
        for path in devices:
            new = self.template(cls)
            new.HostResource = [path]
            codes.append(self.add(new)[2])
        self.assertEqual([0] * 64 + [INVALID_PARAMETER], codes)

    def test_address_of_nobody(self):
        """Section 16: 000000000000 means none; no static address."""
        self.create_vm()
        nic = self.template(NIC)
        nic.StaticMacAddress, nic.Address = True, '00' * 6
        self.assertEqual(INVALID_PARAMETER, self.add(nic)[2])
        nic.StaticMacAddress = False
        self.assertEqual(0, self.add(nic)[2])

    def test_secure_boot_template_of_generation_1(self):
        """Sections 4 and 7: features of generation 2."""
        template = '1734c6e8-3154-4dda-ba5f-a874cc483422'
        self.create_vm('one', generation=1)
        self.create_vm('two', generation=2)
        self.assertEqual([INVALID_PARAMETER, 0], [self.modify_settings(
            name, SecureBootTemplateId=template) for name in ('one', 'two')])


@ddt.ddt
class FileOfDriveTest(hypervcase.HyperVTestCase):
    """Section 6: chains and inaccessible files."""

    CHILD = 'C:\\VMs\\vm\\child.vhdx'

    def setUp(self):
        super().setUp()
        self.create_vm()
        self.parent = self.make_disk('C:\\VMs\\vm\\parent.vhdx')
        self.vhd.create_differencing_vhd(self.CHILD, self.parent)

    def break_chain(self, how):
        self.files.remove(self.parent)
        if how == 'other':
            self.make_disk(self.parent)

    @ddt.data('missing', 'other')
    def test_broken_chain(self, how):
        """Open fails when the parent is missing or its id mismatches [D]."""
        self.break_chain(how)
        controller = self.add_controller()[1][0]
        drive = self.add_drive(controller, 0)[1][0]
        before = self.everything()
        job, _paths, code = self.add_medium(drive, self.CHILD)
        self.assertEqual(4096, code)
        self.assert_job_failed(job, self.CHILD)
        self.assert_unchanged(before)
        self.host.quirks.chains_checked_when_added = False
        self.assertEqual(0, self.add_medium(drive, self.CHILD)[2])
        job = self.job(self.system().RequestStateChange(2)[0])
        self.assertEqual(10, job.JobState)

    @ddt.data('machine', 'Everyone', 'NT VIRTUAL MACHINE\\Virtual Machines')
    def test_denied_file(self, who):
        """Inaccessible file: 0x80070005; at the start, too."""
        if who == 'machine':
            who = 'NT VIRTUAL MACHINE\\' + self.record().guid
        self.attach_disk(self.CHILD)
        paths = self.bound.utilsfactory.get_pathutils()
        paths.add_acl_rule(self.CHILD, who, 0x10000000, 3)
        self.assert_job_failed(self.system().RequestStateChange(2)[0],
                               '0x80070005')
        self.vmutils.detach_vm_disk('vm', self.CHILD, is_physical=False)
        with self.assertRaisesRegex(hypervcase.exceptions.WMIJobFailed,
                                    '0x80070005'):
            self.vmutils.attach_scsi_drive('vm', self.CHILD)
        self.create_vm('other')
        if 'NT VIRTUAL MACHINE\\' + self.record().guid == who:
            self.attach_disk(self.CHILD, 'other')


@ddt.ddt
class AutomaticSnapshotTest(hypervcase.HyperVTestCase):
    """Section 4 [F]: their disks are merged when the VM is destroyed."""

    @ddt.data((True, True, True), (True, True, False), (True, False, True),
              (False, True, True))
    @ddt.unpack
    def test_destroy(self, automatic, merged, as_job):
        self.host.quirks.automatic_snapshots_merge = merged
        self.host.quirks.destroy_is_job = as_job
        self.create_vm()
        disk = self.attach_disk()
        self.vmutils.take_vm_snapshot('vm')
        snapshot = self.host.v2.by_path(
            self.vmutils.get_vm_snapshots('vm')[0])
        self.host.v2.update(snapshot, IsAutomaticSnapshot=automatic)
        self.assertNotEqual((disk,), self.resources(
            cls=SASD)[0].HostResource)
        self.vmutils.destroy_vm('vm')
        self.assertEqual(1 if automatic and merged else 2, len([
            name for name in self.files.list_dir('C:\\VMs\\vm')
            if name.endswith('vhdx')]))
