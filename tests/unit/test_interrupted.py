# SPDX-License-Identifier: Apache-2.0
from unittest import mock

import ddt
from nova.compute import rpcapi
from nova.compute import vm_states
from nova import exception
from nova.network import model as network_model
from nova import objects
from oslo_db import exception as db_exc
import oslo_messaging as messaging

from compute_hyperv import errors
from compute_hyperv import interruptedlife
from compute_hyperv import model
from compute_hyperv.sim import vm as sim_vm
from tests import base
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
                              source_compute='elsewhere', status='running',
                              migration_type='live-migration')
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


class UnshelveTest(opscase.OpsTestCase):
    """A server that was being unshelved when nova-compute was killed."""

    def setUp(self):
        super().setUp()
        self.instance.vm_state = vm_states.SHELVED_OFFLOADED
        self.instance.info_cache = objects.InstanceInfoCache(
            network_info=network_model.NetworkInfo())
        self.define()

    def process(self):
        with (mock.patch.object(objects.MigrationList, 'get_by_filters',
                                return_value=objects.MigrationList(
                                    objects=[])),
              mock.patch.object(
                  objects.BlockDeviceMappingList, 'get_by_instance_uuid',
                  return_value=objects.BlockDeviceMappingList(objects=[])),
              self.assertLogs('compute_hyperv.interrupted', 'WARNING')):
            self.ops.interrupted.process(None, 'HV1', [self.instance])

    def test_what_runs_may_be_the_only_copy(self):
        """A9, B12: Nova deletes the image before its last step."""
        self.ops.power.start(self.instance)
        self.process()
        self.assertEqual(sim_vm.RUNNING, self.vm().state)

    def test_what_does_not_run_yet_is_removed(self):
        self.process()
        self.assertEqual([], self.vm_names)
        self.assertFalse(self.paths.exists(
            self.paths.instance_dir(self.instance.name)))


class ArrivalTest(opscase.OpsTestCase):
    """A hard reboot of a server that did not arrive by a resize."""

    def test_what_was_there_first_stays(self):
        """L002: it was refused for files of somebody else."""
        name = self.instance.name
        root = self.paths.root_path(name, 'vhdx')
        self.paths.make_dir(self.paths.instance_dir(name))
        self.win.vhd.create_dynamic_vhd(root, 1 << 30)
        self.assertRaises(exception.InstanceExists,
                          self.ops.vms.files.claim, self.instance)
        self.ops.interrupted._arrivals._clear(
            self.instance, None, model.MoveRecord(
                host='HV2', directory='C:\\x', unc='\\\\HV2\\x', disks=(),
                volumes={}).to_json())
        self.assertTrue(self.paths.exists(root))


class LiveTest(opscase.OpsTestCase):
    """A live migration whose source was killed; the VM is still there."""

    def setUp(self):
        super().setUp()
        self.instance.host = 'HV1'
        self.define()
        self.patch(objects.Instance, 'get_by_uuid',
                   return_value=self.instance)
        self.rollback = self.patch(rpcapi.ComputeAPI,
                                   'rollback_live_migration_at_destination')

    def patch(self, *what, **how):
        patch = mock.patch.object(*what, **how)
        self.addCleanup(patch.stop)
        return patch.start()

    def migration(self):
        return objects.Migration(
            instance_uuid=self.instance.uuid, source_compute='HV1',
            dest_compute='HV2', dest_node='HV2', status='running')

    def end(self):
        self.ops.interrupted._live.end(None, self.migration())

    def test_target_is_cleaned_when_the_job_has_ended(self):
        self.end()
        self.rollback.assert_called_once()

    def test_target_is_left_alone_while_the_job_goes_on(self):
        """A9, L079: what arrives there must not lose its disks."""
        self.patch(self.ops.win, 'stop_jobs', return_value=False)
        self.assertRaises(errors.WaitTimeout, self.end)
        self.rollback.assert_not_called()

    def test_server_that_was_reset_meanwhile_is_left_alone(self):
        """A9: its user may be moving it to the same host again."""
        self.instance.task_state = None
        stop_jobs = self.patch(self.ops.win, 'stop_jobs', autospec=True)
        self.patch(objects.Migration, 'save', autospec=True)
        migration = self.migration()
        self.ops.interrupted._live.end_later(None, migration)
        self.assertEqual('error', migration.status)
        stop_jobs.assert_not_called()
        self.rollback.assert_not_called()


class LaterTest(opscase.OpsTestCase):
    """What could not be done when the service started."""

    def test_server_that_has_gone_meanwhile_is_forgotten(self):
        """A9: there is nothing of it here, and never will be."""
        self.instance.host = 'HV2'
        with (mock.patch.object(objects.Instance, 'get_by_uuid',
                                return_value=self.instance),
              mock.patch.object(self.ops.interrupted, '_take_up_volumes',
                                autospec=True) as take_up):
            self.ops.interrupted._take_up_again(None, 'HV1',
                                                self.instance.uuid)
            take_up.assert_not_called()
            self.ops.interrupted._take_up_again(None, 'HV2',
                                                self.instance.uuid)
            take_up.assert_called_once()


class FailureTest(opscase.OpsTestCase):

    def test_the_service_starts_all_the_same(self):
        self.instance.vm_state = vm_states.ACTIVE
        with (mock.patch.object(objects.MigrationList, 'get_by_filters',
                                side_effect=KeyError('defect')),
              self.assertLogs('compute_hyperv.interrupted', 'WARNING') as log):
            self.ops.interrupted.process(None, 'HV1', [self.instance])
        self.assertIn('defect', log.output[0])
        self.assertIn(self.instance.uuid, log.output[-1])


@ddt.ddt
class RequestSpecTest(base.TestCase):
    """What Nova's API noted, as a service of a cell gets it."""

    def get(self, found):
        with mock.patch.object(objects.RequestSpec, 'get_by_instance_uuid',
                               side_effect=[found]):
            return interruptedlife._request_spec(None, 'uuid')

    def test_it_is_what_the_api_noted(self):
        self.assertEqual('spec', self.get('spec'))

    @ddt.data(messaging.RemoteError('CantStartEngineError', 'no connection'),
              db_exc.CantStartEngineError)
    def test_cell_without_the_database_of_the_api_does_without(self, error):
        """A9: else the task would stay for ever."""
        self.assertIsNone(self.get(error))

    @ddt.data(messaging.RemoteError('DBConnectionError', 'down'),
              messaging.MessagingTimeout('no conductor'))
    def test_trouble_that_passes_is_tried_again(self, error):
        self.assertRaises(type(error), self.get, error)
