# SPDX-License-Identifier: Apache-2.0
"""Live migration that succeeds (hyperv-semantics.md section 11)."""

import ddt

from compute_hyperv.sim import jobs
from tests.unit.sim import twohosts

ROOT = 'C:\\VMs\\vm\\root.vhdx'


class MoveCase(twohosts.TwoHostCase):
    """A VM on HV1 that moves to HV2."""

    def content(self, host, path=ROOT):
        with open(host.storage.local(path), 'rb') as file:
            return file.read()

    def move(self, name='vm', **options):
        self.migration.live_migrate_vm(name, 'HV2', **options)
        return self.other.vms.named(name)

    def assert_only_there(self, vm):
        """Nothing of the VM is on the source any more."""
        self.assertEqual([], self.host.vms.problems())
        self.assertEqual([], self.host.v2.under(vm.instance_id))
        self.assertEqual([], self.other.vms.planned())
        self.assertEqual([], self.other.jobs.problems())

    def assert_clean(self):
        """Off and destroyed at the destination, both hosts are clean."""
        if self.vmutils2.vm_exists('vm'):
            self.vmutils2.set_vm_state('vm', 3)
            self.vmutils2.destroy_vm('vm')
        for files in (self.files, self.there.files):
            if files.exists('C:\\VMs'):
                twohosts.remove_tree(files, 'C:\\VMs')
        self.fabric.assert_clean()


@ddt.ddt
class MoveTest(MoveCase):
    """os-win's live_migrate_vm, storage included."""

    @ddt.data('2012R2', '2016', '2022', '2025')
    def test_running(self, windows):
        """Same GUID, name, state; the source's objects vanish."""
        self.make_host(windows)
        vm = self.make_machine()
        self.start()
        before = {one['InstanceID'] for one in
                  self.host.v2.under(vm.instance_id)}
        content = self.content(self.host)
        new = self.move()
        self.assertEqual((vm.guid, 2), (new.guid, new.state))
        self.assertEqual(before, {one['InstanceID'] for one in
                                  self.other.v2.under(vm.instance_id)})
        self.assertEqual(content, self.content(self.other))
        self.assertFalse(self.host.storage.exists(ROOT))
        self.assert_only_there(vm)
        self.assert_clean()

    @ddt.data('off', 'saved')
    def test_not_running(self, state):
        """Off and saved VMs can migrate too."""
        vm = self.make_machine()
        self.bring_to(state)
        new = self.move()
        self.assertEqual({'off': 3, 'saved': 6}[state], new.state)
        self.assert_only_there(vm)
        self.vmutils2.set_vm_state('vm', 2)
        self.assertEqual(2, new.state)
        self.assert_clean()

    def test_paths_name_the_new_host(self):
        """Section 20, 8: paths carry the right server name."""
        vm = self.make_machine()
        self.start()
        self.move()
        for record in self.other.v2.under(vm.instance_id):
            for name, value in record.props.items():
                self.assertNotIn('\\\\HV1\\', str(value), name)
        port = self.other.v2.under(vm.instance_id,
                                   'Msvm_EthernetPortAllocationSettingData')
        switch = self.other.v2.by_path(port[0]['HostResource'][0])
        self.assertEqual('external', switch['ElementName'])

    def test_guest_goes_on(self):
        """The guest does not notice: no new boot; its COM port is there."""
        vm = self.make_machine()
        self.vmutils.set_vm_serial_port_connection(
            'vm', 1, '\\\\.\\pipe\\console')
        self.host.vms.behaviours.behave('vm', os_name='Special')
        self.start()
        guest = vm.worker.guest
        new = self.move()
        moved = new.worker.guest
        self.assertEqual((guest.boots, 'running', 'Special'), (
            moved.boots, moved.state, moved.facts()['OSName']))
        self.assertEqual(1, len(new.worker.pipes))
        self.assert_clean()

    def test_file_of_the_destination_is_not_overwritten(self):
        """AllowOverwriteExistingFile is off: 0x80070050."""
        self.make_machine()
        self.write(ROOT, b'mine', self.there.files)
        with self.assertRaisesRegex(twohosts.exceptions.WMIJobFailed,
                                    '0x80070050'):
            self.move()
        self.assertEqual(b'mine', self.content(self.other))
        self.assertEqual([], self.other.vms.planned())

    def test_only_what_was_moved_is_deleted(self):
        """Storage types delete the VM's disks; other files stay."""
        self.make_machine()
        self.write('C:\\VMs\\vm\\console.log', b'text')
        self.move()
        self.assertEqual(['C:\\VMs\\vm\\console.log'], [
            path for path in self.host.storage.drive('C').listing()
            if path.startswith('C:\\VMs') and path[-1] != '\\'])


class ChainTest(MoveCase):
    """Disks with parents."""

    def make_child(self):
        """A VM whose disk is a child of an image in a cache."""
        self.create_vm()
        self.make_image(self.files, self.vhd)
        self.vhd.create_differencing_vhd(ROOT, 'C:\\_base\\image.vhdx')
        self.attach_disk(ROOT)

    def make_image(self, files, vhd):
        files.make_dirs('C:\\_base')
        vhd.create_dynamic_vhd('C:\\_base\\image.vhdx', 1 << 30)

    def test_parent_has_to_be_there(self):
        """A parent that is not the VM's own does not come along."""
        self.make_child()
        self.start()
        with self.assertRaisesRegex(twohosts.exceptions.WMIJobFailed,
                                    '0xC03A000D'):
            self.move()
        self.assertEqual(2, self.state())
        self.assertFalse(self.other.storage.exists(ROOT))

    def test_another_disk_is_no_parent(self):
        """Of the same name but with another identity: 0xC03A000E."""
        self.make_child()
        self.make_image(self.there.files, self.vhd2)
        with self.assertRaisesRegex(twohosts.exceptions.WMIJobFailed,
                                    '0xC03A000E'):
            self.move()

    def test_copy_of_the_parent_is_one(self):
        """The image cache of the destination has the same image."""
        self.make_child()
        self.there.files.make_dirs('C:\\_base')
        self.files.copy('C:\\_base\\image.vhdx',
                        '\\\\HV2\\C$\\_base\\image.vhdx')
        self.start()
        self.assertEqual(2, self.move().state)
        self.assertTrue(self.host.storage.exists('C:\\_base\\image.vhdx'))

    def test_checkpoints_come_along(self):
        """The frozen files are the VM's own; they merge over there."""
        vm = self.make_machine()
        self.start()
        self.vmutils.take_vm_snapshot('vm', 'one')
        leaf = vm.media()[0]['HostResource'][0]
        new = self.move()
        for path in (leaf, ROOT):
            self.assertEqual((False, True), (
                self.host.storage.exists(path),
                self.other.storage.exists(path)))
        found = self.vmutils2.get_vm_snapshots('vm', 'one')
        self.assertEqual(1, len(found))
        self.vmutils2.remove_vm_snapshot(found[0])
        self.assertEqual((ROOT,), new.media()[0]['HostResource'])
        self.assertFalse(self.other.storage.exists(leaf))
        self.assert_clean()


@ddt.ddt
class SharedTest(MoveCase):
    """Type 32768: the disks are on storage that both hosts reach."""

    SHARES = {'\\\\FS\\vms': 10}

    def test_shared_storage(self):
        """The files stay where they are."""
        self.create_vm()
        self.files.make_dirs('\\\\FS\\vms\\vm')
        path = self.make_disk('\\\\FS\\vms\\vm\\root.vhdx')
        self.attach_disk(path)
        self.start()
        new = self.move(migrate_disks=False)
        self.assertEqual((2, (path,)), (
            new.state, new.media()[0]['HostResource']))
        self.assertTrue(self.other.storage.exists(path))

    @ddt.data(None, 50, 100)
    def test_configuration_on_the_share(self, breaks):
        """The destination takes the files over; or the source has them."""
        self.files.make_dirs('\\\\FS\\vms\\vm')
        self.vmutils.create_vm('vm', False, 2, '\\\\FS\\vms\\vm', ['vm'])
        self.attach_disk(self.make_disk('\\\\FS\\vms\\vm\\root.vhdx'))
        self.start()
        folder = '\\\\FS\\vms\\vm\\Virtual Machines'
        names = self.files.list_dir(folder)
        if breaks:
            self.fabric.faults.add(match='Moving *', at_percent=breaks)
            self.assertRaises(twohosts.exceptions.WMIJobFailed, self.move,
                              migrate_disks=False)
            self.assertEqual(2, self.state())
        else:
            self.assertEqual(2, self.move(migrate_disks=False).state)
        self.assertEqual(names, self.files.list_dir(folder))
        with self.assertRaises(OSError):
            self.files.remove(folder + '\\' + names[0])

    def test_destination_that_cannot_power_on(self):
        """The last thing that may fail: everything goes back."""
        self.files.make_dirs('\\\\FS\\vms\\vm')
        self.vmutils.create_vm('vm', False, 2, '\\\\FS\\vms\\vm', ['vm'])
        path = self.make_disk('\\\\FS\\vms\\vm\\root.vhdx')
        self.attach_disk(path)
        self.start()
        with self.host.jobs.held(jobs.MOVE, 95):
            self.start_and_starve()
        self.assertEqual(2, self.state())
        self.assertEqual([], self.other.vms.problems())
        for name in (path, '\\\\FS\\vms\\vm\\Virtual Machines\\%s.vmcx' %
                     self.record().guid):
            with self.assertRaises(OSError):
                self.files.remove(name)         # open on the source

    def start_and_starve(self):
        """While the job stands, somebody takes all of HV2's memory."""
        settings = self.wmi.Msvm_VirtualSystemMigrationSettingData(
            MigrationType=32768)[0]
        service = self.wmi.Msvm_VirtualSystemMigrationService()[0]
        service.MigrateVirtualSystemToHost(
            ComputerSystem=self.system().path_(), DestinationHost='HV2',
            MigrationSettingData=settings.GetText_(1))
        self.other.quirks.host_reserve_mib = 1 << 20

    def test_disks_of_the_host_are_refused(self):
        """Storage has to be reachable at both ends."""
        self.make_machine()
        self.start()
        with self.assertRaisesRegex(twohosts.exceptions.WMIJobFailed,
                                    '0x80070002'):
            self.move(migrate_disks=False)
        self.assertEqual(2, self.state())
        self.assertEqual([], self.other.vms.planned())


class UptimeTest(MoveCase):
    """Time goes on across the migration."""

    CLOCK = 'stepped'

    def test_uptime_and_progress(self):
        """Real progress by the clock; uptime counts from the power-on."""
        self.make_machine()
        job = self.system().RequestStateChange(2)[0]
        self.fabric.clock.advance(60)
        self.assertEqual(7, self.job(job).JobState)
        before_s = self.host.vms.uptime_s(self.record().guid)
        job = self.job(self.request())
        self.assertEqual((4, 306), (job.JobState, job.JobType))
        self.assertEqual((2, 32774), self.system().OperationalStatus)
        seen = []
        while not seen or seen[-1] < 100:
            self.fabric.clock.advance(0.1)
            seen.append(self.job(job.path_()).PercentComplete)
        self.assertEqual(sorted(seen), seen)
        self.assertGreater(len(set(seen)), 5)
        new = self.other.vms.named('vm')
        self.assertAlmostEqual(before_s + 0.1 * len(seen),
                               self.other.vms.uptime_s(new.guid), 1)

    def request(self):
        """MigrateVirtualSystemToHost; the path of its job."""
        settings = self.wmi.Msvm_VirtualSystemMigrationSettingData(
            MigrationType=32771)[0]
        service = self.wmi.Msvm_VirtualSystemMigrationService()[0]
        job, code = service.MigrateVirtualSystemToHost(
            ComputerSystem=self.system().path_(), DestinationHost='HV2',
            MigrationSettingData=settings.GetText_(1))
        self.assertEqual(4096, code)
        return job


class StorageMoveTest(MoveCase):
    """Type 32769: the disks of one VM go elsewhere on its host."""

    def test_old_file_stays_if_told_so(self):
        """RetainVhdCopiesOnSource."""
        self.test_running(retain=True)

    def test_running(self, retain=False):
        """HostResource changes at the end, the old file goes."""
        self.make_machine()
        self.start()
        content = self.content(self.host)
        disk = self.resources(cls='Msvm_StorageAllocationSettingData')[0]
        disk.HostResource = ['C:\\Elsewhere\\root.vhdx']
        settings = self.wmi.Msvm_VirtualSystemMigrationSettingData(
            MigrationType=32769)[0]
        settings.RetainVhdCopiesOnSource = retain
        service = self.wmi.Msvm_VirtualSystemMigrationService()[0]
        job, code = service.MigrateVirtualSystemToHost(
            ComputerSystem=self.system().path_(),
            MigrationSettingData=settings.GetText_(1),
            NewResourceSettingData=[disk.GetText_(1)])
        self.assertEqual((4096, 7, jobs.MOVE_STORAGE), (
            code, self.job(job).JobState, self.job(job).JobType))
        self.assertEqual(content, self.content(
            self.host, 'C:\\Elsewhere\\root.vhdx'))
        self.assertEqual(retain, self.host.storage.exists(ROOT))
        with self.assertRaises(OSError):
            self.files.remove('C:\\Elsewhere\\root.vhdx')   # the VM's
