# SPDX-License-Identifier: Apache-2.0
import uuid

import ddt
from nova import exception

from compute_hyperv import errors
from compute_hyperv import instancefiles
from compute_hyperv import locks
from compute_hyperv import model
from compute_hyperv.sim import jobs
from compute_hyperv.sim import vm as sim_vm
from tests import factories
from tests.unit import opscase


class VMCase(opscase.OpsTestCase):

    def setUp(self):
        super().setUp()
        self.vms = self.ops.vms

    def destroy(self, **kwargs):
        self.vms.destroy(None, self.instance, None, **kwargs)

    def planned_vm(self, owner):
        service, = self.win.vm._conn.Msvm_VirtualSystemManagementService()
        settings = self.win.vm._conn.Msvm_VirtualSystemSettingData.new()
        settings.ElementName = self.instance.name
        settings.Notes = [owner]
        service.DefinePlannedSystem(
            SystemSettings=settings.GetText_(1), ResourceSettings=[],
            ReferenceConfiguration=None)


@ddt.ddt
class DefineTest(VMCase):

    @ddt.data(model.Generation.ONE, model.Generation.TWO)
    def test_everything_of_the_vm_is_in_its_directory(self, generation):
        """L004: configuration, log, snapshot, suspend and swap roots."""
        settings = self.define(generation=generation).settings
        for root in ('Configuration', 'Log', 'Snapshot', 'Suspend',
                     'SwapFile'):
            self.assertEqual(self.paths.instance_dir(self.instance.name),
                             settings[f'{root}DataRoot'], root)

    def test_the_host_starts_no_vm_by_itself(self):
        """L005: the automatic start action is "nothing" (2)."""
        self.assertEqual(2, self.define().settings['AutomaticStartupAction'])

    def test_guest_and_operator_know_whose_vm_it_is(self):
        """L006: chassis asset tag; B14: Nova's uuid in the notes."""
        settings = self.define().settings
        self.assertEqual('OpenStack Nova', settings['ChassisAssetTag'])
        self.assertEqual([self.instance.uuid, self.instance.display_name],
                         list(settings['Notes']))

    @ddt.data('*.DefineSystem', '*.ModifySystemSettings',
              '*.ModifyResourceSettings', '*.AddResourceSettings')
    def test_failure_leaves_nothing(self, method):
        """L001: rollback removes the VM."""
        with self.fabric.faults.failing(kind='method', match=method,
                                        times=None, code=32768):
            self.assertRaises(errors.os_win_exc.OSWinException, self.define)
        self.assertEqual([], self.vm_names)

    def test_resize_keeps_the_tag(self):
        """L006: resize keeps it."""
        vm = self.define()
        self.vms.configure(vm.name, model.MachineSpec(
            generation=model.Generation.TWO, cpu=model.CpuSpec(count=2),
            memory=model.MemorySpec(maximum_mib=1024)))
        self.assertEqual('OpenStack Nova', vm.settings['ChassisAssetTag'])
        self.assertEqual(2, vm.processor['VirtualQuantity'])

    def test_cpu_is_tuned(self):
        vm = self.define()
        self.vms.configure(vm.name, model.MachineSpec(
            generation=model.Generation.TWO, memory=model.MemorySpec(
                maximum_mib=512), cpu=model.CpuSpec(
                    count=2, limit=50_000, weight=300, threads_per_core=1)))
        self.assertEqual((50_000, 300, 1), (
            vm.processor['Limit'], vm.processor['Weight'],
            vm.processor['HwThreadsPerCore']))


@ddt.ddt
class DestroyTest(VMCase):

    def check_gone(self):
        self.assertEqual([], self.vm_names)
        self.assertFalse(self.paths.exists(
            self.paths.instance_dir(self.instance.name)))

    @ddt.data(sim_vm.OFF, sim_vm.RUNNING, sim_vm.PAUSED, sim_vm.SAVED)
    def test_from_every_state(self, state):
        """L008: never reports failure because of the VM's state."""
        self.define()
        if state != sim_vm.OFF:
            self.ops.power.start(self.instance)
        if state == sim_vm.PAUSED:
            self.ops.power.pause(self.instance)
        if state == sim_vm.SAVED:
            self.ops.power.suspend(self.instance)
        self.destroy()
        self.check_gone()

    def test_missing_vm(self):
        """L007: deletes its files, and succeeds."""
        self.paths.make_dir(self.paths.instance_dir(self.instance.name))
        self.destroy()
        self.destroy()
        self.check_gone()

    def test_pending_job_that_can_be_ended(self):
        """L008: asks every pending job to stop, then goes on."""
        vm = self.define()
        with self.host.jobs.held(jobs.START):
            self.host.jobs.start(jobs.Task(
                work=lambda: None, job_type=jobs.START, cancellable=True,
                affected=(vm.system,)))
            self.destroy()
        self.check_gone()

    def test_job_that_does_not_end_keeps_the_networks(self):
        """L008: the error names it; Nova lets no address of it go."""
        self.ops.power._jobs_timeout_s = 1
        vm = self.define()
        with self.host.jobs.held(jobs.START):
            self.host.jobs.start(jobs.Task(
                work=lambda: None, job_type=jobs.START, name='Merging disks',
                affected=(vm.system,)))
            self.assert_refuses(exception.InstancePowerOffFailure,
                                'Merging disks', call=self.destroy)
        self.destroy()
        self.check_gone()

    def test_fault_before_the_vm_is_off_keeps_the_networks(self):
        self.define()
        with self.fabric.faults.failing(kind='query', match='*SettingData*',
                                        times=None, code=0x80041001):
            self.assertRaises(exception.InstancePowerOffFailure,
                              self.destroy)
        self.destroy()
        self.check_gone()

    def test_planned_vm_is_removed(self):
        """L009: also a planned VM of that name."""
        self.planned_vm(self.instance.uuid)
        self.destroy()
        self.assertEqual({}, self.win.planned_uuids())

    def test_planned_vm_of_another_is_not(self):
        other = str(uuid.uuid4())
        self.planned_vm(other)
        self.destroy()
        self.assertEqual({self.instance.name: other},
                         self.win.planned_uuids())

    def test_revert_directory_is_deleted(self):
        """L010: also deletes its revert directory."""
        revert_dir = self.paths.revert_dir(self.instance.name)
        self.paths.make_dir(revert_dir)
        self.destroy()
        self.assertFalse(self.paths.exists(revert_dir))

    def test_files_stay_if_told_so(self):
        self.define()
        self.destroy(destroy_disks=False)
        self.assertEqual([], self.vm_names)
        self.assertTrue(self.paths.exists(
            self.paths.instance_dir(self.instance.name)))

    def test_vm_of_somebody_else_stays_with_its_files(self):
        """L002: the existing VM and its disks are untouched."""
        other = factories.instance(id=self.instance.id)
        self.define(other)
        self.destroy()
        self.vms.cleanup(self.instance, None, None, destroy_disks=True,
                         destroy_vifs=True)
        self.assertEqual([other.name], self.vm_names)
        self.assertTrue(self.paths.exists(
            self.paths.instance_dir(other.name)))

    def test_what_was_there_first_stays(self):
        """L002: Nova asks for a deletion after a refused build, too."""
        root = self.paths.root_path(self.instance.name, 'vhdx')
        self.paths.make_dir(self.paths.instance_dir(self.instance.name))
        self.win.vhd.create_dynamic_vhd(root, 1 << 30)
        self.assertRaises(exception.InstanceExists, self.vms.files.claim,
                          self.instance)
        self.destroy()
        self.assertTrue(self.vms.files.try_to_delete(self.instance))
        self.assertTrue(self.paths.exists(root))
        self.vms.files.claim(self.instance, but=root)
        self.destroy()
        self.check_gone()

    def test_what_was_there_first_stays_for_the_next_service(self):
        """L002: which has the instance from Nova's database only."""
        root = self.paths.root_path(self.instance.name, 'vhdx')
        self.paths.make_dir(self.paths.instance_dir(self.instance.name))
        self.win.vhd.create_dynamic_vhd(root, 1 << 30)
        self.assertRaises(exception.InstanceExists, self.vms.files.claim,
                          self.instance)
        self.vms.files = instancefiles.InstanceFiles(self.win, self.paths)
        self.destroy()
        self.assertTrue(self.vms.files.try_to_delete(self.instance))
        self.assertTrue(self.paths.exists(root))

    def test_vm_that_came_later_goes_with_its_files(self):
        """L002: a live migration brings it to where it was refused."""
        other = self.paths.root_path(self.instance.name, 'vhdx')
        self.paths.make_dir(self.paths.instance_dir(self.instance.name))
        self.win.vhd.create_dynamic_vhd(other, 1 << 30)
        self.assertRaises(exception.InstanceExists, self.vms.files.claim,
                          self.instance)
        self.paths.remove(other)
        self.define()
        self.destroy()
        self.check_gone()

    def test_refusal_of_another_host_is_none_here(self):
        self.instance.system_metadata[instancefiles.REFUSED_KEY] = 'HV2'
        self.define()
        self.destroy()
        self.check_gone()

    def test_own_vm_in_the_way_goes_with_its_files(self):
        """L002: also if it was in the way, for it was left by a failure."""
        self.define()
        self.assertRaises(exception.InstanceExists, self.vms.files.claim,
                          self.instance)
        self.destroy()
        self.check_gone()

    def test_later_deletion_asks_whose_files_they_are(self):
        """L002: Nova's periodic task comes back to deleted instances."""
        other = factories.instance(id=self.instance.id)
        self.define(other)
        directory = self.paths.instance_dir(other.name)
        self.assertTrue(self.vms.files.try_to_delete(self.instance))
        self.assertTrue(self.paths.exists(directory))

    def test_file_in_use_is_tried_again_by_nova(self):
        """nova-contract.md 1.8: True means that they are gone."""
        self.paths._busy_timeout_s = self.ops.vms._paths._busy_timeout_s = 0
        path = self.paths.console_path(self.instance.name)
        self.paths.make_dir(self.paths.instance_dir(self.instance.name))
        self.paths.open(path, 'wb').close()
        handle = self.host.storage.hold(path, owner='a backup program')
        self.assertFalse(self.vms.files.try_to_delete(self.instance))
        handle.close()
        self.assertTrue(self.vms.files.try_to_delete(self.instance))
        self.check_gone()

    def test_port_that_stays_keeps_no_file(self):
        """L007: ports come last, their program may not work just now."""
        self.paths.make_dir(self.paths.instance_dir(self.instance.name))
        ports = [factories.vif(vif_type='ovs')]
        self.assertRaises(
            errors.VifCommandFailed, self.vms.cleanup, self.instance, ports,
            None, destroy_disks=True, destroy_vifs=True)
        self.assertFalse(self.paths.exists(
            self.paths.instance_dir(self.instance.name)))

    def test_two_vms_of_one_name_are_an_error(self):
        """L163: an error instead of acting on the first."""
        self.define()
        self.win.vm.create_vm(self.instance.name, False, 1, None)
        self.assert_refuses(exception.InstancePowerOffFailure, '2 VMs',
                            self.instance.name, call=self.destroy)
        self.assertEqual([self.instance.name] * 2, self.vm_names)

    def test_it_waits_for_a_snapshot_of_the_instance(self):
        """L011: waits on the instance's lock; others are not delayed."""
        self.define()
        self.vms._locks._timeout_s = 0.01
        lock = locks.instance(self.instance.uuid)
        release = self.vms._locks._backends[lock.scope].acquire(lock.name, 1)
        # The class for which Nova keeps the networks of what still runs.
        self.assert_refuses(exception.InstancePowerOffFailure, 'lock',
                            call=self.destroy)
        self.vms.destroy(None, factories.instance(), None)
        release()
        self.destroy()
        self.check_gone()


class ForcedDestroyTest(VMCase):

    OPTIONS = {('hyperv', 'force_destroy_instances'): True}

    def test_it_waits_for_nothing(self):
        """L011: unless the operator chose forced deletes."""
        self.define()
        lock = locks.instance(self.instance.uuid)
        release = self.vms._locks._backends[lock.scope].acquire(lock.name, 1)
        self.destroy()
        release()
        self.assertEqual([], self.vm_names)


class ListTest(VMCase):

    def test_only_nova_s_vms_are_listed(self):
        """L071: missing or free-text notes do not break listing."""
        self.define()
        for name, notes in (('none', None), ('text', ['by', 'Ünal']),
                            ('empty', [''])):
            self.win.vm.create_vm(name, False, 1, None, notes=notes)
        self.assertEqual([self.instance.uuid], self.vms.uuids())
        self.assertEqual([self.instance.name], self.vms.names())

    def test_listing_costs_the_same_for_any_number(self):
        """L161: listing N VMs costs a constant number of queries."""
        for _number in range(5):
            self.define(factories.instance())
        with self.fabric.recorder.recording() as calls:
            self.assertEqual(5, len(self.vms.uuids()))
        self.assertEqual(1, len(calls), calls)

    def test_vm_that_nobody_has(self):
        """L070: instance-not-found with the instance's uuid."""
        self.assert_refuses(exception.InstanceNotFound, self.instance.uuid,
                            call=lambda: self.vms.info(self.instance))
