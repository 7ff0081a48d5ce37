# SPDX-License-Identifier: Apache-2.0
from unittest import mock

from nova.compute import vm_states
from nova import objects

from tests import factories
from tests.unit import opscase


class PlannedVmsTest(opscase.OpsTestCase):

    def plan(self, instance):
        settings = self.win.vm._conn.Msvm_VirtualSystemSettingData.new()
        settings.ElementName = instance.name
        settings.Notes = [instance.uuid]
        service, = self.win.vm._conn.Msvm_VirtualSystemManagementService()
        service.DefinePlannedSystem(
            SystemSettings=settings.GetText_(1), ResourceSettings=[],
            ReferenceConfiguration=None)

    def process(self, *migrations):
        found = objects.MigrationList(objects=[
            objects.Migration(instance_uuid=instance.uuid, dest_compute=host,
                              source_compute='elsewhere')
            for instance, host in migrations])
        with mock.patch.object(objects.MigrationList, 'get_by_filters',
                               return_value=found):
            self.ops.interrupted.process(None, 'HV1', ())

    def planned(self):
        return sorted(vm.ElementName for vm in
                      self.win.vm._conn.Msvm_PlannedComputerSystem())

    def test_those_that_nobody_waits_for_are_removed(self):
        """L009: planned VMs piled up and blocked later migrations."""
        self.plan(self.instance)
        with self.assertLogs('compute_hyperv.interrupted', 'WARNING'):
            self.process()
        self.assertEqual([], self.planned())

    def test_that_of_a_migration_under_way_stays(self):
        """A9: Hyper-V goes on while nova-compute is away."""
        leaving = factories.instance(id=1)
        self.plan(self.instance)
        self.plan(leaving)
        self.process((self.instance, 'HV1'), (leaving, 'HV2'))
        self.assertEqual([self.instance.name], self.planned())

    def test_those_of_others_stay(self):
        self.instance.uuid = 'not of Nova'
        self.plan(self.instance)
        self.process()
        self.assertEqual([self.instance.name], self.planned())


class FailureTest(opscase.OpsTestCase):

    def test_the_service_starts_all_the_same(self):
        self.instance.vm_state = vm_states.ACTIVE
        with (mock.patch.object(objects.MigrationList, 'get_by_filters',
                                side_effect=KeyError('defect')),
              self.assertLogs('compute_hyperv.interrupted', 'WARNING') as log):
            self.ops.interrupted.process(None, 'HV1', [self.instance])
        self.assertIn('defect', log.output[0])
        self.assertIn(self.instance.uuid, log.output[-1])
