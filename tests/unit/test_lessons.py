# SPDX-License-Identifier: Apache-2.0
"""Field lessons that show on a host without all of Nova around it."""

import ddt
from nova import exception
from nova.virt import event as virt_event

from compute_hyperv import errors
from compute_hyperv import operation
from compute_hyperv import oswin
from tests import factories
from tests.unit import opscase

VMState = oswin.VMState

_ROOTS = ('ConfigurationDataRoot', 'LogDataRoot', 'SnapshotDataRoot',
          'SuspendDataRoot', 'SwapFileDataRoot')


class DefinitionTest(opscase.OpsTestCase):

    def test_all_folders_are_the_instances(self):
        """L004: saved state and paging files stay in its directory."""
        settings = self.define().settings
        self.assertEqual(
            {self.paths.instance_dir(self.instance.name)},
            {settings[name] for name in _ROOTS})

    def test_hyper_v_does_not_start_it_by_itself(self):
        """L005: the automatic start action is "nothing"."""
        self.assertEqual(2, self.define().settings['AutomaticStartupAction'])

    def test_guest_knows_its_cloud(self):
        """L006: the chassis asset tag says OpenStack Nova."""
        self.assertEqual('OpenStack Nova',
                         self.define().settings['ChassisAssetTag'])

    def test_account_without_rights_is_told_so_at_once(self):
        """L003: an authorization error, before disks are created."""
        store = self.host.v2
        store.delete(store.find_one('Msvm_VirtualSystemManagementService'))
        with self.assertRaises(errors.HypervisorPermissionDenied):
            self.ops.vms.spawn(None, self.instance, factories.image_meta(),
                               [], None, [], factories.block_device_info())
        self.assertEqual([], self.paths.list_dir(self.paths.instances_dir))


class NamesTest(opscase.OpsTestCase):

    def test_name_that_is_taken_is_refused_and_left_alone(self):
        """L002: a collision never removes somebody else's VM."""
        self.win.vm.create_vm(self.instance.name, False, 1, None)
        with self.assertRaises(exception.InstanceExists):
            self.ops.vms.spawn(None, self.instance, factories.image_meta(),
                               [], None, [], factories.block_device_info())
        self.ops.vms.destroy(None, self.instance, [])
        self.assertEqual([self.instance.name], self.vm_names)

    def test_two_vms_of_one_name_are_an_error(self):
        """L163: never act on the first of them."""
        for _unused in range(2):
            self.win.vm.create_vm(self.instance.name, False, 1, None,
                                  notes=[self.instance.uuid])
        with self.assertRaises(exception.NovaException):
            self.ops.vms.destroy(None, self.instance, [])
        self.assertEqual([self.instance.name] * 2, self.vm_names)

    def test_planned_vm_is_removed_too(self):
        """L009: one left by an interrupted migration blocks the next."""
        settings = self.win.vm._conn.Msvm_VirtualSystemSettingData.new()
        settings.ElementName = self.instance.name
        settings.Notes = [self.instance.uuid]
        self.win.vm._vs_man_svc.DefinePlannedSystem(
            SystemSettings=settings.GetText_(1), ResourceSettings=[],
            ReferenceConfiguration=None)
        self.assertEqual(1, len(self.host.vms.planned()))
        self.ops.vms.destroy(None, self.instance, [])
        self.assertEqual([], self.host.vms.planned())

    def test_notes_of_others_do_not_matter(self):
        """L071: missing or free text notes break nothing."""
        names = {'none', 'text', 'empty'}
        self.define()
        for name, notes in (('none', None), ('text', ['made by hand']),
                            ('empty', [''])):
            self.win.vm.create_vm(name, False, 1, None, notes=notes)
        self.assertEqual([self.instance.uuid], self.ops.vms.uuids())
        self.ops.recovery.run()
        self.assertLessEqual(names, set(self.vm_names))


class QueriesTest(opscase.OpsTestCase):

    def count(self, call):
        with self.fabric.recorder.recording() as calls:
            call()
        return len(calls)

    def test_listing_costs_the_same_for_one_and_for_many(self):
        """L161: listing N VMs costs a constant number of queries."""
        self.define()
        one = self.count(self.ops.vms.uuids)
        for number in range(20):
            self.define(factories.instance(id=1000 + number))
        self.assertEqual(21, len(self.ops.vms.uuids()))
        self.assertEqual(one, self.count(self.ops.vms.uuids))

    def test_state_of_one_vm_is_asked_by_its_name(self):
        """L161: lookups are keyed queries."""
        self.define()
        before = self.count(lambda: self.ops.vms.info(self.instance))
        for number in range(20):
            self.define(factories.instance(id=1000 + number))
        self.assertEqual(
            before, self.count(lambda: self.ops.vms.info(self.instance)))


@ddt.ddt
class EventsTest(opscase.OpsTestCase):

    OPTIONS = {('hyperv', 'power_state_event_polling_interval'): 1}

    def setUp(self):
        super().setUp()
        self.events = []
        self.ops.events.start(self.events.append)

    def wait_for(self, count):
        """Transitions by uuid, as soon as there are *count* of them."""
        operation.until(lambda: len(self.events) >= count,
                        what='events', timeout_s=10, interval_s=0.05)
        return [(event.get_instance_uuid(), event.get_transition())
                for event in self.events]

    @ddt.data((VMState.PAUSED, virt_event.EVENT_LIFECYCLE_PAUSED),
              (VMState.SAVED, virt_event.EVENT_LIFECYCLE_SUSPENDED),
              (VMState.OFF, virt_event.EVENT_LIFECYCLE_STOPPED))
    @ddt.unpack
    def test_every_transition_is_what_it_is(self, state, expected):
        """L066: saving a VM outside Nova is "suspended", not "stopped"."""
        vm = self.define()
        self.win.request_state(vm.name, VMState.RUNNING)
        self.wait_for(1)
        self.win.request_state(vm.name, state)
        uuid = self.instance.uuid
        self.assertEqual(
            [(uuid, virt_event.EVENT_LIFECYCLE_STARTED), (uuid, expected)],
            self.wait_for(2))

    def test_editing_settings_is_no_event(self):
        """L066: only a real transition is one."""
        vm = self.define()
        settings = self.win.vm._lookup_vm_check(vm.name, for_update=True)
        settings.Notes = [self.instance.uuid, 'edited']
        self.win.vm._modify_virtual_system(settings)
        self.win.request_state(vm.name, VMState.RUNNING)
        self.assertEqual(
            [(self.instance.uuid, virt_event.EVENT_LIFECYCLE_STARTED)],
            self.wait_for(1))

    def test_vms_of_others_are_ignored(self):
        """L068: a VM without a Nova uuid in its notes has no events."""
        self.win.vm.create_vm('other', False, 1, None, notes=['by hand'])
        for name in ('other', self.define().name):
            self.win.request_state(name, VMState.RUNNING)
        self.assertEqual(
            [(self.instance.uuid, virt_event.EVENT_LIFECYCLE_STARTED)],
            self.wait_for(1))

    def test_nothing_is_forwarded_once_the_service_stops(self):
        """L072: a host that goes down must not mark servers stopped."""
        vm = self.define()
        self.win.request_state(vm.name, VMState.RUNNING)
        self.wait_for(1)
        self.ops.events.stop()
        self.win.request_state(vm.name, VMState.OFF)
        self.assertEqual(1, len(self.events))
