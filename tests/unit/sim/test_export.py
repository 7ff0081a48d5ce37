# SPDX-License-Identifier: Apache-2.0
"""Export and import of VMs (hyperv-semantics.md section 10)."""

import ddt

from tests.unit.sim import twohosts
from tests.unit.sim.twohosts import exceptions

EXPORT = 'C:\\Export'
ROOT = 'C:\\VMs\\vm\\root.vhdx'


class ExportCase(twohosts.TwoHostCase):
    """A VM on HV1 that is exported to a folder of HV2."""

    SUFFIX = '.vmcx'

    def make_host(self, windows, **facts):
        super().make_host(windows, **facts)
        self.vm = self.make_machine()
        self.guid = self.vm.guid

    def definition(self, folder=EXPORT):
        return '%s\\Virtual Machines\\%s%s' % (folder, self.guid,
                                               self.SUFFIX)

    def send(self, folder=EXPORT):
        """The folder as it is on HV1, to HV2 by its admin share."""
        for path in sorted(self.host.storage.drive('C').listing()):
            if path.startswith(folder + '\\') and path[-1] != '\\':
                target = '\\\\HV2\\C$' + path[2:]
                self.files.make_dirs(target.rpartition('\\')[0])
                self.files.copy(path, target)

    def export(self, **options):
        self.migration.export_vm('vm', EXPORT, **options)

    def bring_in(self, utils=None, new_uuid=False):
        (utils or self.migration2).import_vm_definition(
            self.definition(), EXPORT + '\\Snapshots', new_uuid)


@ddt.ddt
class ExportTest(ExportCase):
    """ExportSystemDefinition through os-win."""

    @ddt.data(('2012R2', '.xml'), ('2016', '.vmcx'), ('2025', '.vmcx'))
    @ddt.unpack
    def test_folder(self, windows, suffix):
        """`Virtual Machines\\<GUID>.vmcx|xml`, Snapshots, disks."""
        self.SUFFIX = suffix
        self.make_host(windows)
        self.export()
        self.assertEqual(['Snapshots', 'Virtual Hard Disks',
                          'Virtual Machines'], self.files.list_dir(EXPORT))
        self.assertIn(self.guid + suffix, self.files.list_dir(
            EXPORT + '\\Virtual Machines'))
        self.assertEqual([], self.files.list_dir(
            EXPORT + '\\Virtual Hard Disks'))

    @ddt.data('off', 'running', 'saved', 'paused')
    def test_states(self, state):
        """Running VMs too, since 2012 R2."""
        self.bring_to(state)
        self.export()
        self.assertEqual((2,), self.system().OperationalStatus)

    def test_folder_that_is_there(self):
        """Target already present: error 80; what is there stays."""
        self.export()
        before = sorted(self.host.storage.drive('C').listing())
        with self.assertRaisesRegex(exceptions.WMIJobFailed, '0x80070050'):
            self.export()
        self.assertEqual(before, sorted(
            self.host.storage.drive('C').listing()))

    def test_subfolder(self):
        """CreateVmExportSubdirectory: one of the VM's name."""
        self.export(create_export_subdir=True)
        self.assertTrue(self.files.exists(self.definition(EXPORT + '\\vm')))

    def test_failure_leaves_nothing(self):
        """A job that fails takes back what it wrote."""
        self.fabric.mark()
        self.fabric.faults.add(match='Exporting*', at_percent=50)
        self.assertRaises(exceptions.WMIJobFailed, self.export)
        self.assertFalse(self.files.exists(EXPORT))

    def test_storage(self):
        """CopyVmStorage: the chains, readable beside the definition."""
        self.start()
        self.vmutils.take_vm_snapshot('vm')
        self.export(copy_vm_storage=True)
        names = self.files.list_dir(EXPORT + '\\Virtual Hard Disks')
        self.assertEqual(2, len(names))
        leaf = next(name for name in names if name.endswith('.avhdx'))
        self.assertEqual(
            EXPORT + '\\Virtual Hard Disks\\root.vhdx',
            self.vhd.get_vhd_parent_path(
                EXPORT + '\\Virtual Hard Disks\\' + leaf))
        self.send()
        self.bring_in()
        self.migration2.realize_vm('vm')
        self.vmutils2.set_vm_state('vm', 2)
        self.assertEqual(2, self.other.vms.named('vm').state)

    def test_disks_of_one_name(self):
        """Two disks of the same name from two folders do not collide."""
        self.files.make_dirs('C:\\VMs\\two')
        self.attach_disk(self.make_disk('C:\\VMs\\two\\root.vhdx'))
        self.export(copy_vm_storage=True)
        self.assertEqual(['root.vhdx', 'root_1.vhdx'], self.files.list_dir(
            EXPORT + '\\Virtual Hard Disks'))
        self.bring_in(self.migration, new_uuid=True)
        self.assertEqual(
            [EXPORT + '\\Virtual Hard Disks\\' + name
             for name in ('root.vhdx', 'root_1.vhdx')],
            [one['HostResource'][0]
             for one in self.host.vms.planned()[0].media()])


@ddt.ddt
class ImportTest(ExportCase):
    """ImportSystemDefinition, ValidatePlannedSystem, RealizePlannedSystem."""

    @ddt.data(('2012R2', '.xml'), ('2022', '.vmcx'))
    @ddt.unpack
    def test_round_trip_between_hosts(self, windows, suffix):
        """Exported, imported and realized elsewhere it is the same VM."""
        self.SUFFIX = suffix
        self.make_host(windows)
        before = [one['InstanceID'] for one in
                  self.host.v2.under(self.vm.instance_id)]
        self.export()
        self.send()
        self.bring_in()
        self.assertTrue(self.migration2.planned_vm_exists('vm'))
        self.assertEqual([], self.vmutils2.list_instances())
        self.there.files.make_dirs('C:\\VMs\\vm')
        self.files.copy(ROOT, '\\\\HV2\\C$\\VMs\\vm\\root.vhdx')
        self.migration2.realize_vm('vm')
        new = self.other.vms.named('vm')
        self.assertEqual((self.guid, 3), (new.guid, new.state))
        self.assertEqual(before, [one['InstanceID'] for one in
                                  self.other.v2.under(new.instance_id)])
        self.assertFalse(self.migration2.planned_vm_exists('vm'))
        self.vmutils2.set_vm_state('vm', 2)
        self.vmutils2.set_vm_state('vm', 3)
        self.vmutils2.destroy_vm('vm')
        self.assertEqual([], self.other.vms.problems())

    def test_missing_disk(self):
        """Missing switch or disk: a job error; the planned VM stays."""
        self.export()
        self.send()
        self.bring_in()
        with self.assertRaisesRegex(exceptions.WMIJobFailed, '0x80070002'):
            self.migration2.realize_vm('vm')
        self.migration2.destroy_existing_planned_vm('vm')
        self.assertEqual([], self.other.vms.problems())
        self.assertFalse(self.there.files.exists(
            'C:\\ProgramData\\Microsoft\\Windows\\Hyper-V\\'
            'Planned Virtual Machines'))

    def test_missing_switch(self):
        """Could not find the switch, unless it is changed."""
        self.OTHER = {'switches': ['other']}
        self.make_host('2022')
        self.export()
        self.send()
        self.there.files.make_dirs('C:\\VMs\\vm')
        self.files.copy(ROOT, '\\\\HV2\\C$\\VMs\\vm\\root.vhdx')
        self.bring_in()
        with self.assertRaisesRegex(exceptions.WMIJobFailed,
                                    'could not find switch'):
            self.migration2.realize_vm('vm')

    def test_same_identity(self):
        """Same GUID already registered -> fails."""
        self.export()
        with self.assertRaisesRegex(exceptions.WMIJobFailed, '0x800700B7'):
            self.bring_in(self.migration)
        self.assertEqual([], self.host.vms.planned())

    def test_new_identity(self):
        """GenerateNewSystemIdentifier: a second VM, same disks."""
        self.export()
        self.bring_in(self.migration, new_uuid=True)
        planned = self.host.vms.planned()[0]
        self.assertNotEqual(self.guid, planned.guid)
        self.assertEqual(ROOT, planned.media()[0]['HostResource'][0])
        self.migration.realize_vm('vm')
        self.assertEqual(2, len(self.vmutils.list_instances()))

    def test_version_too_high(self):
        """A higher configuration version than the host supports [D]."""
        self.OTHER = {'windows': '2016'}
        self.make_host('2022')
        self.export()
        self.send()
        with self.assertRaisesRegex(exceptions.WMIJobFailed,
                                    'version 10.0'):
            self.bring_in()
        self.assertEqual([], self.other.vms.planned())

    def test_old_version_on_newer_windows(self):
        """Version 5.0 from 2012 R2 comes to 2016."""
        self.OTHER = {'windows': '2016'}
        self.SUFFIX = '.xml'
        self.make_host('2012R2')
        self.export()
        self.send()
        self.bring_in()
        self.assertEqual('5.0', self.other.vms.planned()[0].version)

    def test_file_in_use(self):
        """The file must not be in use: 32779 [D]."""
        self.export()
        with self.files.open(self.definition(), 'r+b'):
            with self.assertRaises(exceptions.WMIJobFailed) as caught:
                self.bring_in(self.migration, new_uuid=True)
        self.assertEqual(32779, caught.exception.error_code)

    @ddt.data((b'no definition', '0x80070570'), (None, '0x80070002'))
    @ddt.unpack
    def test_bad_file(self, data, text):
        """Not there, or something else."""
        self.export()
        if data is None:
            self.files.remove(self.definition())
        else:
            with self.files.open(self.definition(), 'wb') as file:
                file.write(data)
        with self.assertRaisesRegex(exceptions.WMIJobFailed, text):
            self.bring_in(self.migration)

    def test_snapshots(self):
        """Checkpoints come from the folder of their definitions."""
        self.vmutils.take_vm_snapshot('vm', 'one')
        self.export()
        self.send()
        for path in self.files.list_dir('C:\\VMs\\vm'):
            if path.endswith('vhdx'):
                self.there.files.make_dirs('C:\\VMs\\vm')
                self.files.copy('C:\\VMs\\vm\\' + path,
                                '\\\\HV2\\C$\\VMs\\vm\\' + path)
        self.bring_in()
        self.migration2.realize_vm('vm')
        found = self.vmutils2.get_vm_snapshots('vm', 'one')
        self.vmutils2.remove_vm_snapshot(found[0])
        self.assertEqual(ROOT, self.other.vms.named('vm').media()[0][
            'HostResource'][0])

    def test_missing_snapshots(self):
        """Those not found must be imported [D]."""
        self.vmutils.take_vm_snapshot('vm', 'one')
        self.export()
        self.send()
        self.migration2.import_vm_definition(self.definition(), 'C:\\None')
        for name in self.files.list_dir('C:\\VMs\\vm'):
            if name.endswith('vhdx'):
                self.there.files.make_dirs('C:\\VMs\\vm')
                self.files.copy('C:\\VMs\\vm\\' + name,
                                '\\\\HV2\\C$\\VMs\\vm\\' + name)
        with self.assertRaisesRegex(exceptions.WMIJobFailed, 'checkpoint'):
            self.migration2.realize_vm('vm')
        conn = self.vmutils2._conn
        service = conn.Msvm_VirtualSystemManagementService()[0]
        plan = conn.Msvm_PlannedComputerSystem(ElementName='vm')[0]
        code = service.ImportSnapshotDefinitions(
            PlannedSystem=plan.path_(),
            SnapshotFolder=EXPORT + '\\Snapshots')[-1]
        self.assertEqual(4096, code)
        self.migration2.realize_vm('vm')
        self.assertEqual(1, len(self.vmutils2.get_vm_snapshots('vm')))

    def test_restart_of_the_service(self):
        """Planned systems do not survive it."""
        self.export()
        self.send()
        self.other.storage.mark()
        self.bring_in()
        self.other.power_off()
        self.other.power_on()
        self.assertEqual([], self.other.problems())


class AdminShareTest(twohosts.TwoHostCase):
    r"""`\\HV2\C$` from HV1, for copies between hosts."""

    def test_folders_and_files(self):
        """os-win's path utilities work over it."""
        paths = self.bound.utilsfactory.get_pathutils()
        self.write('C:\\A\\one', b'1')
        paths.check_create_dir('\\\\HV2\\C$\\B')
        paths.copy('C:\\A\\one', '\\\\HV2\\C$\\B\\one')
        self.assertEqual(['one'], self.there.files.list_dir('C:\\B'))
        paths.copy_dir('C:\\A', '\\\\HV2\\C$\\C')
        paths.rmtree('\\\\HV2\\C$\\B')
        self.assertFalse(self.there.files.exists('C:\\B'))

    def test_without_network(self):
        """Off or cut off: 53, the network path was not found."""
        self.fabric.cut('HV1', 'HV2')
        with self.assertRaises(OSError) as caught:
            self.files.list_dir('\\\\HV2\\C$\\Windows')
        self.assertEqual(53, caught.exception.winerror)
        self.fabric.mend('HV1', 'HV2')
        self.assertTrue(self.files.exists('\\\\HV2\\C$\\Windows'))
        self.other.power_off()
        self.assertFalse(self.files.exists('\\\\HV2\\C$\\Windows'))
