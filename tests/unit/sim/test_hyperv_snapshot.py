# SPDX-License-Identifier: Apache-2.0
"""Checkpoints (hyperv-semantics.md section 8)."""

import ddt

from compute_hyperv.sim import snapshotdisks
from tests.unit.sim import hypervcase
from tests.unit.sim.hypervcase import SASD
from tests.unit.sim.hypervcase import STARTED

SNAPSHOT = 'Microsoft:Hyper-V:Snapshot:Realized'


class SnapshotTestCase(hypervcase.HyperVTestCase):
    """A VM with one disk, one NIC and a boot order."""

    def setUp(self):
        super().setUp()
        self.create_vm()
        self.disk = self.attach_disk()
        self.add_nic()
        self.connect()

    def take(self, name='vm'):
        return self.vmutils.take_vm_snapshot(name)

    def disk_of(self, settings_path=None):
        """File of the VM's, or of a checkpoint's, first disk."""
        record = self.host.v2.by_path(
            settings_path or self.settings().path_())
        return snapshotdisks.hard_disks(
            self.host, record['InstanceID'])[0]['HostResource'][0]

    def vhdx_files(self):
        return sorted(one for one in self.files.list_dir('C:\\VMs\\vm')
                      if one.endswith('vhdx'))

    @property
    def snapshot_service(self):
        return self.wmi.Msvm_VirtualSystemSnapshotService()[0]


@ddt.ddt
class CreateTest(SnapshotTestCase):
    """CreateSnapshot."""

    @ddt.data('off', 'running', 'paused', 'saved')
    def test_disks_get_a_difference(self, state):
        r"""Section 8: `<name>_<GUID>.avhdx`, the snapshot keeps the old."""
        self.bring_to(state)
        path = self.take()
        self.assertEqual(self.disk, self.disk_of(path))
        self.assertRegex(self.disk_of(),
                         r'^C:\\VMs\\vm\\disk_[0-9A-F-]{36}\.avhdx$')
        self.assertEqual(hypervcase.STATES[state], self.state())

    def test_difference_has_the_old_file_as_parent(self):
        """Section 8: a differencing disk of the old file."""
        self.take()
        self.assertEqual(self.disk, self.vhd.get_vhd_parent_path(
            self.disk_of()))

    def test_settings_are_copied(self):
        """Section 8: new VSSD + RASD set under the snapshot's id."""
        path = self.take()
        record = self.host.v2.by_path(path)
        guid = record['ConfigurationID']
        self.assertEqual(
            ('Microsoft:' + guid, self.record().guid, SNAPSHOT),
            (record['InstanceID'], record['VirtualSystemIdentifier'],
             record['VirtualSystemType']))
        self.assertNotEqual(self.record().guid, guid)
        kinds = [sorted(one.cls.name for one in self.host.v2.under(
            prefix, 'CIM_ResourceAllocationSettingData'))
            for prefix in (record['InstanceID'],
                           self.record().instance_id)]
        self.assertEqual(kinds[1], kinds[0])

    def test_copies_refer_to_copies(self):
        """Section 8: parents and boot sources are the snapshot's own."""
        record = self.host.v2.by_path(self.take())
        drive = snapshotdisks.hard_disks(
            self.host, record['InstanceID'])[0]['Parent']
        guid = record['ConfigurationID']
        self.assertIn(guid, drive)
        for path in record['BootSourceOrder']:
            self.assertIn(guid, path)
            self.assertIsNotNone(self.host.v2.by_path(path))

    def test_snapshot_is_listed_and_current(self):
        """Section 8: most current in branch, the VM's VSSD.Parent."""
        first, second = self.take(), self.take()
        self.assertEqual([first, second],
                         self.vmutils.get_vm_snapshots('vm'))
        self.assertEqual(second, self.settings().Parent)
        self.assertEqual(first, self.host.v2.by_path(second)['Parent'])
        self.assertEqual([second], [one['Dependent'] for one in (
            self.host.v2.find('Msvm_MostCurrentSnapshotInBranch'))])

    def test_job_is_always_returned_and_knows_the_snapshot(self):
        """Section 8 and oswin-surface.md 9.5: affected elements."""
        job, _snapshot, code = self.snapshot_service.CreateSnapshot(
            AffectedSystem=self.system().path_(), SnapshotType=2)
        self.assertEqual(STARTED, code)
        found = self.job(job).associators(
            wmi_association_class='Msvm_AffectedJobElement',
            wmi_result_class='Msvm_VirtualSystemSettingData')
        self.assertEqual(self.vmutils.get_vm_snapshots('vm'),
                         [one.path_() for one in found])

    def test_name_and_notes_may_be_edited(self):
        """Section 4: snapshot ElementName/Notes may be edited."""
        path = self.vmutils.take_vm_snapshot('vm', snapshot_name='mine')
        self.assertEqual([path], self.vmutils.get_vm_snapshots(
            'vm', snapshot_name='mine'))
        snapshot = self.job(path)
        snapshot.AutomaticStartupAction = 4
        self.assertEqual(32773, self.service.ModifySystemSettings(
            SystemSettings=snapshot.GetText_(1))[1])

    @ddt.data(('2012R2', True), ('2016', False), ('2022', False))
    @ddt.unpack
    def test_disabled_checkpoints(self, windows, possible):
        """Section 8: UserSnapshotType 2 disabled, 2016+."""
        self.make_host(windows)
        self.create_vm(**({} if windows == '2012R2' else
                          {'UserSnapshotType': 2}))
        if possible:
            self.take()
            return
        job = self.snapshot_service.CreateSnapshot(
            AffectedSystem=self.system().path_(), SnapshotType=2)[0]
        self.assert_job_failed(job, 'disabled', code=32775)

    @ddt.data((3, False), (4, False), (5, True))
    @ddt.unpack
    def test_memory_is_kept_by_standard_checkpoints(self, kind, memory):
        """Section 8: production has no memory state, standard has."""
        self.modify_settings(UserSnapshotType=kind)
        self.start()
        self.assertEqual(memory, self.host.v2.by_path(
            self.take())['IsSaved'])

    @ddt.data(
        # windows, type, guest, memory (None: refused), quiesced
        ('2022', 3, {}, False, 1),
        ('2022', 3, {'has_services': False}, True, 0),
        ('2022', 3, {'can_freeze': False}, True, 0),
        ('2022', 4, {}, False, 1),
        ('2022', 4, {'has_services': False}, None, 0),
        ('2022', 5, {}, True, 0),
        ('2012R2', None, {}, True, 0))
    @ddt.unpack
    def test_production_checkpoints(self, windows, kind, guest, memory,
                                    freezes):
        """Section 8: guest VSS and no memory; 3 falls back, 4 does not."""
        self.make_host(windows)
        self.create_vm()
        self.attach_disk()
        if kind is not None:
            self.modify_settings(UserSnapshotType=kind)
        self.host.vms.behaviours.behave('vm', **guest)
        self.start()
        job = self.snapshot_service.CreateSnapshot(
            AffectedSystem=self.system().path_(), SnapshotType=2)[0]
        if memory is None:
            self.assert_job_failed(job, 'Production checkpoints cannot')
            self.assertEqual(['disk.vhdx'], self.vhdx_files())
        else:
            path = self.vmutils.get_vm_snapshots('vm')[0]
            self.assertEqual(memory, self.host.v2.by_path(path)['IsSaved'])
        self.assertEqual(freezes, self.record().worker.guest.freezes)

    def test_frozen_file_can_be_read_while_running(self):
        """Parents of a running VM's disk are shared for reading (6)."""
        self.start()
        self.take()
        self.files.copy(self.disk, 'C:\\VMs\\copy.vhdx')
        with self.assertRaises(OSError):
            self.files.copy(self.disk_of(), 'C:\\VMs\\leaf.avhdx')

    def test_fifty_first_is_refused(self):
        """Section 8: limit 50 per VM; 20.6."""
        self.create_vm('many')
        for _ in range(50):
            self.take('many')
        before = self.everything()
        job = self.snapshot_service.CreateSnapshot(
            AffectedSystem=self.system('many').path_(), SnapshotType=2)[0]
        self.assert_job_failed(job, 'as many checkpoints')
        self.assert_unchanged(before)

    @ddt.data('CreateSnapshot', 'DestroySnapshot', 'DestroySnapshotTree',
              'ApplySnapshot', 'ClearSnapshotState')
    def test_nothing_is_no_checkpoint(self, method):
        """Section 3: parameter errors are immediate return codes."""
        self.assertIn(32773, getattr(self.snapshot_service, method)())

    def test_settings_are_no_system(self):
        """Section 8: AffectedSystem is a system."""
        self.host.quirks.wrong_reference_hresult = 0
        self.assertEqual(32773, self.snapshot_service.CreateSnapshot(
            AffectedSystem=self.settings().path_(), SnapshotType=2)[2])

    def test_checkpoint_takes_no_devices(self):
        """Section 4: only its name and notes may be edited."""
        self.take()
        before = self.everything()
        self.assertEqual(32773, self.service.AddResourceSettings(
            self.vmutils.get_vm_snapshots('vm')[0], [self.template(
                'Msvm_SyntheticEthernetPortSettingData').GetText_(1)])[2])
        self.assert_unchanged(before)

    def test_unknown_type(self):
        """Section 8: code 6 invalid type."""
        self.assertEqual(6, self.snapshot_service.CreateSnapshot(
            AffectedSystem=self.system().path_(), SnapshotType=9)[2])

    def test_shared_disks_are_refused(self):
        """Section 8: not possible with shared disks."""
        self.modify(self.resources(cls=SASD)[0],
                    PersistentReservationsSupported=True)
        job = self.snapshot_service.CreateSnapshot(
            AffectedSystem=self.system().path_(), SnapshotType=2)[0]
        self.assert_job_failed(job, 'shared disk')

    def test_physical_disks_are_refused(self):
        """Section 8: not possible with pass-through disks."""
        self.pass_disk_through()
        job = self.snapshot_service.CreateSnapshot(
            AffectedSystem=self.system().path_(), SnapshotType=2)[0]
        self.assert_job_failed(job, 'physical disk')

    def pass_disk_through(self):
        number = self.add_host_disk()
        self.vmutils.attach_volume_to_controller(
            'vm', self.vmutils.get_vm_scsi_controller('vm'), 5,
            self.vmutils.get_mounted_disk_by_drive_number(number))

    def test_physical_disks_are_left_out_when_asked(self):
        """Msvm_VirtualSystemSnapshotSettingData, section 8, 2016 on."""
        self.pass_disk_through()
        wanted = self.wmi.Msvm_VirtualSystemSnapshotSettingData.new()
        wanted.IgnoreNonSnapshottableDisks = True
        job, _snapshot, code = self.snapshot_service.CreateSnapshot(
            AffectedSystem=self.system().path_(), SnapshotType=2,
            SnapshotSettings=wanted.GetText_(1))
        self.assertEqual(4096, code)
        self.assertEqual(1, len(self.vmutils.get_vm_snapshots('vm')), job)
        files, physical = self.vmutils.get_vm_storage_paths('vm')
        self.assertTrue(files[0].lower().endswith('.avhdx'))
        self.assertEqual(1, len(physical))

    def test_failure_leaves_nothing(self):
        """20.3 for checkpoints: the disk is gone when the job runs."""
        self.files.remove(self.disk)
        before = self.everything()
        job = self.snapshot_service.CreateSnapshot(
            AffectedSystem=self.system().path_(), SnapshotType=2)[0]
        self.assert_job_failed(job)
        self.assert_unchanged(before)
        self.assertEqual([], self.vhdx_files())


@ddt.ddt
class DestroyTest(SnapshotTestCase):
    """DestroySnapshot and its relatives."""

    @ddt.data('off', 'running', 'saved')
    def test_base_names_come_back(self, state):
        """20.4: create + destroy restores the disk chain."""
        self.bring_to(state)
        before = {one for one in self.everything()}
        self.vmutils.remove_vm_snapshot(self.take())
        self.assertEqual(self.disk, self.disk_of())
        self.assertEqual(['disk.vhdx'], self.vhdx_files())
        self.assertEqual(before, {one for one in self.everything()})

    @ddt.data((0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0))
    def test_any_order(self, order):
        """Section 8: children are re-parented, disks merged."""
        self.start()
        taken = [self.take() for _ in range(3)]
        for index in order:
            self.vmutils.remove_vm_snapshot(taken[index])
            self.assertTrue(self.files.exists(self.disk_of()))
        self.assertEqual(self.disk, self.disk_of())
        self.assertEqual(['disk.vhdx'], self.vhdx_files())
        self.assertEqual(2, self.state())

    def test_contents_survive_the_merge(self):
        """Section 8: the merged disk reads as the chain did."""
        path = self.take()
        from compute_hyperv.sim import disks
        storage = self.host.storage
        with disks.open_disk(storage.local(self.disk_of()), writable=True,
                             resolve=storage.local,
                             win_path=self.disk_of()) as disk:
            disk.write(4096, b'after the checkpoint')
        self.vmutils.remove_vm_snapshot(path)
        with disks.open_disk(storage.local(self.disk), writable=False,
                             resolve=storage.local,
                             win_path=self.disk) as disk:
            self.assertEqual(b'after the checkpoint', disk.read(4096, 20))

    def test_cached_base_image_is_not_merged_away(self):
        """Section 8: only differences of checkpoints are merged."""
        base = self.make_disk('C:\\base.vhdx')
        self.create_vm('cow')
        child = 'C:\\VMs\\cow\\root.vhdx'
        self.vhd.create_differencing_vhd(child, base)
        self.attach_disk(child, 'cow')
        self.vmutils.remove_vm_snapshot(self.take('cow'))
        self.assertEqual(base, self.vhd.get_vhd_parent_path(child))

    def test_tree(self):
        """Section 8: DestroySnapshotTree removes all descendants."""
        first = self.take()
        self.take()
        self.take()
        self.snapshot_service.DestroySnapshotTree(first)
        self.assertEqual([], self.vmutils.get_vm_snapshots('vm'))
        self.assertEqual(['disk.vhdx'], self.vhdx_files())

    def test_vm_with_snapshots_is_destroyed_with_them(self):
        """Section 4: removes snapshots' definitions; 20.2."""
        path = self.take()
        self.vmutils.destroy_vm('vm')
        self.assert_not_found(path)
        self.assertEqual([], self.host.vms.problems())

    def test_path_that_is_no_snapshot(self):
        """Section 8: the VM's own settings are none."""
        self.assertEqual(32773, self.snapshot_service.DestroySnapshot(
            self.settings().path_())[1])

    def test_memory_state_can_be_dropped(self):
        """Section 8: ClearSnapshotState drops memory state."""
        self.modify_settings(UserSnapshotType=5)
        self.start()
        path = self.take()
        self.snapshot_service.ClearSnapshotState(path)
        self.assertFalse(self.host.v2.by_path(path)['IsSaved'])


class MergingTest(SnapshotTestCase):
    """While disks are merged; time stands still."""

    CLOCK = 'stepped'

    def test_nothing_else_while_a_checkpoint_is_taken(self):
        """Section 2 (32768) and field lesson L008: 32775 meanwhile."""
        job = self.snapshot_service.CreateSnapshot(
            AffectedSystem=self.system().path_(), SnapshotType=2)[0]
        self.assertEqual((2, 32768), self.system().OperationalStatus)
        self.assertEqual((32775, 32775, 5), (
            self.request_state(2),
            self.service.DestroySystem(self.system().path_())[1],
            self.snapshot_service.CreateSnapshot(
                AffectedSystem=self.system().path_(), SnapshotType=2)[2]))
        self.assertEqual((0,), self.job(job).RequestStateChange(5))
        self.assertEqual((2,), self.system().OperationalStatus)
        self.assertEqual(STARTED, self.request_state(2))

    def test_checkpoint_stays_while_another_is_taken(self):
        """Section 2 (32768): no other work on the disks meanwhile."""
        self.snapshot_service.CreateSnapshot(
            AffectedSystem=self.system().path_(), SnapshotType=2)
        self.fabric.clock.advance(60)
        path = self.vmutils.get_vm_snapshots('vm')[0]
        self.snapshot_service.CreateSnapshot(
            AffectedSystem=self.system().path_(), SnapshotType=2)
        self.assertEqual((5,), self.snapshot_service.DestroySnapshot(
            path)[1:])
        self.fabric.clock.advance(60)
        self.assertEqual(2, len(self.vmutils.get_vm_snapshots('vm')))

    def test_vm_that_starts_meanwhile_is_not_destroyed(self):
        """Section 4: off or saved, also when the job does its work."""
        path = self.system().path_()
        job = self.service.DestroySystem(path)[0]
        self.host.v2.update(self.record().system, EnabledState=2)
        self.fabric.clock.advance(60)
        self.assert_job_failed(job, 'not off', code=32775)

    def test_vm_in_merge_is_not_destroyed(self):
        """Section 8: OperationalStatus[1] 32772, destroying refused."""
        self.snapshot_service.CreateSnapshot(
            AffectedSystem=self.system().path_(), SnapshotType=2)
        self.fabric.clock.advance(60)
        path = self.vmutils.get_vm_snapshots('vm')[0]
        self.snapshot_service.DestroySnapshot(path)
        self.assertEqual((2, 32772), self.system().OperationalStatus)
        self.assertEqual(5, self.service.DestroySystem(
            self.system().path_())[1])
        self.assertEqual(2, len(self.vhdx_files()))
        self.fabric.clock.advance(60)
        self.assertEqual((2,), self.system().OperationalStatus)
        self.assertEqual(1, len(self.vhdx_files()))


@ddt.ddt
class ApplyTest(SnapshotTestCase):
    """ApplySnapshot."""

    @ddt.data('running', 'paused')
    def test_refused_unless_off_or_saved(self, state):
        """Section 8: VM must be off or saved, else 5."""
        path = self.take()
        self.bring_to(state)
        self.assertEqual(5, self.snapshot_service.ApplySnapshot(path)[1])

    def test_settings_and_disks_go_back(self):
        """Section 8: new diff disks replace the current ones."""
        path = self.take()
        current = self.disk_of()
        self.modify(self.resources(cls='Msvm_MemorySettingData')[0],
                    VirtualQuantity=2048)
        self.vmutils.destroy_nic('vm', 'nic')
        self.assertEqual(STARTED, self.snapshot_service.ApplySnapshot(
            path)[1])
        self.assertEqual(512, self.record().memory['VirtualQuantity'])
        self.assertEqual(['nic'], self.vmutils.get_vm_nic_names('vm'))
        self.assertFalse(self.files.exists(current))
        self.assertEqual(self.disk, self.vhd.get_vhd_parent_path(
            self.disk_of()))
        self.start()
        self.assertEqual(2, self.state())

    def test_memory_state_makes_it_saved(self):
        """Section 8: VM becomes saved (with memory)."""
        self.modify_settings(UserSnapshotType=5)
        self.start()
        path = self.take()
        self.turn_off()
        self.snapshot_service.ApplySnapshot(path)
        self.assertEqual(6, self.state())

    def test_branches_are_merged_when_only_one_is_left(self):
        """Section 8: apply makes a branch; deleting cleans up."""
        first, second = self.take(), self.take()
        self.snapshot_service.ApplySnapshot(first)
        self.assertEqual(3, len(self.vhdx_files()))
        self.vmutils.remove_vm_snapshot(second)
        self.vmutils.remove_vm_snapshot(first)
        self.assertEqual(['disk.vhdx'], self.vhdx_files())
        self.assertEqual(self.disk, self.disk_of())
