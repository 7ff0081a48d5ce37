# SPDX-License-Identifier: Apache-2.0
"""Rebuild, evacuate, shelve and unshelve with every call failing once.

As in ``test_b_lifefaults``. Where Nova's compute manager would ask other
services for each run, the driver is called as the manager does it.
"""

import collections
import ntpath

import ddt
from nova.compute import task_states
from nova.compute import vm_states
from nova import exception
from nova import objects

from compute_hyperv.sim import vm as sim_vm
from tests.functional import base
from tests.functional import sweepcase
from tests.functional import test_b_lifefaults

HANDS = 3
GEN2 = test_b_lifefaults.GEN2


class BuildFaults(test_b_lifefaults.LifeFaults):

    error = None

    def spawn(self, host='HV1', image_id=None):
        """Make the instance's VM; whether that worked."""
        image = objects.ImageMeta.from_image_ref(
            self.context, self.manager.image_api,
            image_id or self.instance.image_ref)
        try:
            self.driver(host).spawn(
                self.context, self.instance, image, [], 'secret', {},
                self.network_info(), self.devices())
        except exception.NovaException as exc:
            self.error = exc
            return False
        return True

    def destroy(self, host='HV1', destroy_disks=True):
        self.driver(host).destroy(
            self.context, self.instance, self.network_info(), self.devices(),
            destroy_disks)


@ddt.ddt
class RebuildFaultsTest(BuildFaults):

    def rebuild(self):
        arguments = dict.fromkeys((
            'new_pass', 'bdms', 'on_shared_storage', 'migration',
            'scheduled_node', 'request_spec', 'accel_uuids', 'target_state'))
        return self.manage(
            task_states.REBUILDING, self.manager.rebuild_instance,
            self.instance, self.instance.image_ref, self.instance.image_ref,
            injected_files=[], orig_sys_metadata={}, recreate=False,
            preserve_ephemeral=False, limits={}, reimage_boot_volume=False,
            **arguments)

    def check_rebuilt(self, usual, what):
        self.assertEqual(vm_states.ACTIVE, self.instance.vm_state)
        self.assertEqual(usual, self.without_ids(), what)
        self.assertTrue(self.new_contents == self.contents(), what)
        self.assert_nothing_new(what)

    def check_failed(self, usual, what):
        """The VM is whole, or it is gone."""
        self.assertEqual(vm_states.ERROR, self.instance.vm_state, what)
        if self.view().vm_names:
            looks = self.without_ids()
            self.assertIn(looks['state'], ('off', 'running'))
            self.assertEqual(usual | {'state': looks['state']}, looks, what)
        # Its files are removed with the instance at the latest.
        self.assert_nothing_new(what, but=r'left behind: .*\\Instances\\\*')

    def without_ids(self):
        """A rebuilt VM has another id, and files that are called so."""
        looks = self.looks()
        looks['files'] = [
            sweepcase.VARYING.sub('ID', path)
            for path in looks['files']]
        return looks

    @ddt.data(*range(HANDS))
    def test_rebuild(self, hand):
        """B8: the server is rebuilt, or in ERROR and can be anew."""
        usual = self.without_ids()

        def rebuild(call):
            with self.failing(call):
                rebuilt = self.rebuild()
            if rebuilt:
                self.check_rebuilt(usual, call)
            else:
                self.check_failed(usual, call)
            return 'rebuilt' if rebuilt else 'failed'

        for _ in range(2):
            calls = self.recorded(self.rebuild)
            self.check_rebuilt(usual, 'without a fault')
        self.sweep('Rebuild', calls, hand, HANDS, rebuild)
        self.assertTrue(self.rebuild())
        self.check_rebuilt(usual, 'in the end')
        self.tidy_up()


@ddt.ddt
class EvacuateFaultsTest(BuildFaults):
    """The disks are on storage that both hosts see."""

    HOSTS = ('HV1', 'HV2')

    def _set_flags(self):
        super()._set_flags()
        self.flags(instances_path=r'C:\ClusterStorage\Volume1\Instances')

    def _new_fabric(self, hosts):
        return super()._new_fabric(hosts, csvs={'Volume1': 100})

    def files(self, host='HV1'):
        """Those of the shared volume."""
        names = self.driver(host)._win.files.list_dir(
            ntpath.join(base.CONF.instances_path, self.name))
        return sorted(names)

    @ddt.data(*range(HANDS))
    def test_other_host(self, hand):
        """L166: it takes the disks as they are, or leaves them so."""
        self.view('HV1').request_state(self.vm(self.server), sim_vm.OFF)
        self.instance.task_state = task_states.REBUILD_SPAWNING
        self.instance.save()
        self.before = collections.Counter(self.problems())
        for _ in range(2):      # the first one makes folders that stay
            calls = self.recorded(lambda: self.spawn('HV2'), ['HV2'])
            self.destroy('HV2', False)
        self.sweep('Evacuate', calls, hand, HANDS, self.evacuate_with_fault)
        self.assertTrue(self.spawn('HV2'))
        self.assert_data('in the end', 'HV2')
        self.destroy('HV1', False)
        self.tidy_up('HV2')

    def evacuate_with_fault(self, call):
        with self.failing(call):
            made = self.spawn('HV2')
        self.assert_data(call, 'HV2')
        if made:
            self.assertEqual('running',
                             self.view('HV2').vm(self.name).state, call)
            self.destroy('HV2', False)
        self.assertEqual([], self.view('HV2').vm_names, call)
        self.assert_nothing_new(call)
        return 'evacuated' if made else 'failed'

    def test_probe(self):
        """L166: a host that cannot tell keeps the disks."""
        before = self.files()

        def probe(call):
            with self.failing(call):
                shared = self.is_shared()
            self.assertEqual(before, self.files(), call)
            return 'shared' if shared else 'not shared'

        calls = self.recorded(self.is_shared, self.HOSTS)
        outcomes = self.sweep('Probe of shared storage', calls, 0, 1, probe)
        self.assertEqual({'shared'}, set(outcomes))
        self.tidy_up()

    def is_shared(self):
        """What the compute manager makes of it when the host is back."""
        return self.manager._is_instance_storage_shared(
            self.context, self.instance, host='HV2')


@ddt.ddt
class ShelveFaultsTest(BuildFaults):

    def shelve(self):
        self.image_id = self.glance.create(name='shelved')['id']
        return self.manage(task_states.SHELVING,
                           self.manager.shelve_instance, self.instance,
                           self.image_id, False, [])

    def offload(self):
        return self.manage(task_states.SHELVING_OFFLOADING,
                           self.manager.shelve_offload_instance,
                           self.instance, False, [])

    def come_back(self, usual, what):
        """From whatever state a shelving left it in, as a user would."""
        state = self.instance.vm_state
        if state == vm_states.ACTIVE:
            self.assert_data(what)
            if self.looks()['state'] == 'off':
                self.start()
            self.assertEqual(usual, self.looks(), what)
            return 'stayed'
        if state == vm_states.SHELVED:
            self.assertTrue(self.offload(), what)
        self.assertEqual(vm_states.SHELVED_OFFLOADED, self.instance.vm_state)
        self.assert_nothing(what)
        node = objects.ComputeNode.get_first_node_by_host_for_old_compat(
            self.context, 'HV1')
        self.instance.update({'host': 'HV1', 'node': 'HV1',
                              'compute_id': node.id})
        self.manager.network_api.setup_instance_network_on_host(
            self.context, self.instance, 'HV1')
        self.assertTrue(self.spawn(image_id=self.image_id), self.error)
        self.instance.vm_state = vm_states.ACTIVE
        self.instance.save()
        self.assert_data(what)
        return 'shelved' if state == vm_states.SHELVED_OFFLOADED else (
            'offloaded later')

    @ddt.data(*range(HANDS))
    def test_shelve(self, hand):
        """B12: it stays, or it goes with its data; nothing is left."""
        for _ in range(2):      # the first one makes folders that stay
            calls = self.recorded(self.shelve)
            self.come_back(None, 'without a fault')
        self.sweep('Shelve', calls, hand, HANDS, self.shelve_with_fault)
        self.tidy_up()

    def shelve_with_fault(self, call):
        usual = self.looks()
        with self.failing(call):
            self.shelve()
        outcome = self.come_back(usual, call)
        self.assert_nothing_new(call)
        return outcome

    @ddt.data(*range(HANDS))
    def test_unshelve(self, hand):
        """B12: it comes with its data, or nothing is left of it."""
        self.view().request_state(self.vm(self.server), sim_vm.OFF)
        image_id = self.glance.create(name='shelved')['id']
        self.driver().snapshot(self.context, self.instance, image_id,
                               lambda **states: None)
        self.destroy()
        self.instance.vm_state = vm_states.SHELVED_OFFLOADED
        self.instance.task_state = task_states.SPAWNING
        self.instance.image_ref = image_id
        for _ in range(2):      # the first one fills the image cache
            calls = self.recorded(self.spawn)
            self.destroy()
        self.sweep('Unshelve', calls, hand, HANDS, self.unshelve_with_fault)
        self.assertTrue(self.spawn())
        self.assert_root('in the end')
        self.tidy_up()

    def unshelve_with_fault(self, call):
        with self.failing(call):
            made = self.spawn()
        if made:
            self.assert_root(call)
            self.destroy()
        self.assert_nothing(call)
        self.assert_problems([], 'deleted')
        return 'unshelved' if made else 'failed'

    def assert_data(self, what, host='HV1'):
        """Shelving keeps the system disk only, as Nova says."""
        self.assert_root(what, host)
