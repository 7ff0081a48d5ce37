# SPDX-License-Identifier: Apache-2.0
"""Snapshot, rescue, rebuild, evacuate and shelve with every call failing once.

Nova's compute manager does each operation as an RPC would have it, over a
server that was booted through the API; that makes some hundred operations
affordable. Whichever call to the host fails, the instance is in the state in
which Nova expects it, its data is intact, nothing is left on the host, and
the operation works when it is repeated.
"""

import collections
import ntpath
import re

import ddt
from nova.compute import task_states
from nova.compute import vm_states
from nova import context as nova_context
from nova import exception
from nova import objects

from compute_hyperv.sim import guestdisks
from compute_hyperv.sim import vm as sim_vm
from tests.functional import base
from tests.functional import sweepcase

#: Tests that share the calls of one operation.
HANDS = 2

MARK = b'written by the guest' * 200
MARK_AT = 15 << 20
GEN2 = {'hw_machine_type': 'hyperv-gen2'}
#: What comes and goes by itself below the instances path.
PASSING = ('\\_base', '\\locks', 'console.log')


class LifeFaults(sweepcase.SweepMixin, base.TestCase):
    """One server of generation 2: port, config drive, ephemeral disk."""

    def setUp(self):
        super().setUp()
        self.server = self.boot(
            self.glance.add_disk(**GEN2), networks='auto', config_drive=True,
            host='HV1', flavor_id=self.flavor(disk_gib=1, ephemeral_gib=1))
        self.context = nova_context.get_admin_context()
        self.instance = objects.Instance.get_by_uuid(
            self.context, self.server['id'], expected_attrs=[
                'flavor', 'metadata', 'system_metadata', 'device_metadata',
                'info_cache', 'trusted_certs'])
        self.name = self.instance.name
        self.manager = self.computes['HV1'].manager
        self.new_contents = self.contents()
        for disk in guestdisks.of(self.vm(self.server).vm):
            if 'configdrive' not in disk.path:
                disk.write(MARK_AT, MARK)
        self.own_contents = self.contents()
        self.before = collections.Counter(self.problems())

    def _set_flags(self):
        super()._set_flags()
        self.flags(config_drive_cdrom=True, group='hyperv')

    # What Nova does.

    def devices(self):
        return self.manager._get_instance_block_device_info(
            self.context, self.instance)

    def network_info(self):
        return self.manager.network_api.get_instance_nw_info(
            self.context, self.instance)

    def manage(self, task_state, call, *args, **kwargs):
        """Let the compute manager do it; whether it could."""
        self.instance.task_state = task_state
        self.instance.save()
        try:
            call(self.context, *args, **kwargs)
        except exception.NovaException:
            return False
        self.assertIsNone(self.instance.task_state)
        return True

    def start(self):
        """A stopped server is started again."""
        self.driver().power_on(self.context, self.instance,
                               self.network_info(), self.devices())

    # What is to be seen.

    def looks(self, host='HV1'):
        """All that a user or an administrator would see of the VM."""
        view = self.view(host).vm(self.name)
        return {
            'state': view.state, 'nics': view.nics, 'notes': view.notes,
            'drives': {(drive.name, drive.bus, drive.controller, drive.lun)
                       for drive in view.drives},
            'boots': view.boot_order[0], 'type': view.settings[
                'UserSnapshotType'],
            'snapshots': len(self.fabric.host(host).v2.find(
                'Msvm_VirtualSystemSettingData')),
            'files': self.files(host)}

    def files(self, host='HV1'):
        listing = self.fabric.host(host).storage.drive('C').listing()
        return sorted(
            path for path in listing if 'instances' in path.lower()
            and not path.endswith('\\export\\')
            and not any(part in path for part in PASSING))

    def assert_data(self, what, host='HV1'):
        self.assert_root(what, host)
        self.assert_marked('eph0.vhdx', what, host)

    def assert_root(self, what, host='HV1'):
        self.assert_marked('root.vhdx', what, host)

    def path(self, name):
        return ntpath.join(base.CONF.instances_path, self.name, name)

    def contents(self):
        return {name: self.content(self.path(name))
                for name in ('root.vhdx', 'eph0.vhdx')}

    def assert_marked(self, name, what, host):
        self.assertTrue(self.own_contents[name]
                        == self.content(self.path(name), host), (what, name))

    def assert_looks(self, wanted, what, **changes):
        self.assertEqual(wanted | changes, self.looks(), what)
        self.assert_data(what)
        self.assert_nothing_new(what)

    def assert_nothing_new(self, what, but=None):
        """Nothing is open or left that was not before.

        :param but: a pattern of what may be left.
        """
        def new():
            found = collections.Counter(self.problems()) - self.before
            return sorted(text for text in found
                          if not (but and re.search(but, text)))

        self.assert_in_time([], new, what)

    def assert_nothing(self, what, host='HV1'):
        """The host knows nothing of the instance."""
        self.assertEqual([], self.view(host).vm_names, what)
        self.assertEqual([], [path for path in self.files(host)
                              if self.name in path], what)

    def tidy_up(self, host='HV1'):
        """When the server is deleted, nothing is left anywhere."""
        self.driver(host).destroy(self.context, self.instance,
                                  self.network_info(), self.devices())
        self.assert_problems([], 'deleted')


@ddt.ddt
class SnapshotFaultsTest(LifeFaults):

    def snapshot(self):
        """Make an image; whether it came to be."""
        self.image_id = self.glance.create(name='snapshot')['id']
        self.manage(task_states.IMAGE_SNAPSHOT,
                    self.manager._snapshot_instance, self.image_id,
                    self.instance, task_states.IMAGE_SNAPSHOT)
        self.assertIsNone(self.instance.task_state)
        self.assertEqual(vm_states.ACTIVE, self.instance.vm_state)
        return self.glance.has(self.image_id)

    def check_image(self, what):
        self.assertEqual('active',
                         self.glance.image(self.image_id)['status'], what)
        self.assertTrue(
            self.own_contents['root.vhdx'] == sweepcase.content(
                self.glance.path(self.image_id)), what)
        self.glance.delete(self.image_id)

    def sweep_snapshot(self, what, hand):
        usual = self.looks()

        def snapshot(call):
            with self.failing(call):
                made = self.snapshot()
            if made:
                self.check_image(call)
            self.assert_looks(usual, call)
            return 'made' if made else 'failed'

        for _ in range(2):      # the first one makes folders that stay
            calls = self.recorded(self.snapshot)
            self.check_image('without a fault')
        self.sweep(f'Snapshot, {what}', calls, hand, HANDS, snapshot)
        self.assertTrue(self.snapshot())
        self.check_image('in the end')
        self.tidy_up()

    @ddt.data(*range(HANDS))
    def test_running(self, hand):
        """L101: no checkpoint, no export, no image; the server runs on."""
        self.sweep_snapshot('running', hand)

    @ddt.data(*range(HANDS))
    def test_quiesced(self, hand):
        """L104: nor another type of checkpoints than before."""
        self.instance.system_metadata['image_os_require_quiesce'] = 'yes'
        self.instance.save()
        self.sweep_snapshot('quiesced', hand)

    @ddt.data(*range(HANDS))
    def test_stopped(self, hand):
        self.view().request_state(self.vm(self.server), sim_vm.OFF)
        self.sweep_snapshot('stopped', hand)


@ddt.ddt
class RescueFaultsTest(LifeFaults):

    def setUp(self):
        super().setUp()
        self.rescue_id = self.glance.add_disk(seed=2)
        self.usual = self.looks()
        self.rescue()       # the image is in the cache in all runs
        self.unrescue()

    def rescue(self):
        return self.manage(task_states.RESCUING,
                           self.manager.rescue_instance, self.instance,
                           'secret', self.rescue_id, False)

    def unrescue(self):
        return self.manage(task_states.UNRESCUING,
                           self.manager.unrescue_instance, self.instance)

    def check_rescued(self, what):
        self.assertEqual(vm_states.RESCUED, self.instance.vm_state)
        now = self.looks()
        self.assertEqual('running', now['state'], what)
        self.assertEqual('root-rescue.vhdx', now['boots'], what)
        self.assertEqual(4, len(now['drives']), what)
        self.assert_data(what)

    def check_usual(self, what):
        self.assertEqual(vm_states.ACTIVE, self.instance.vm_state)
        self.assert_looks(self.usual, what)

    def check_failed(self, what):
        """In ERROR, off unless it could not be stopped."""
        self.assertEqual(vm_states.ERROR, self.instance.vm_state)
        state = self.looks()['state']
        self.assertIn(state, ('off', 'running'))
        self.assert_looks(self.usual, what, state=state)

    @ddt.data(*range(HANDS))
    def test_rescue(self, hand):
        """L099: it boots the rescue image, or is off as it was before."""
        calls = self.recorded(self.rescue)
        self.unrescue()
        self.sweep('Rescue', calls, hand, HANDS, self.rescue_with_fault)
        self.assertTrue(self.rescue())
        self.assertTrue(self.unrescue())
        self.check_usual('in the end')
        self.tidy_up()

    def rescue_with_fault(self, call):
        with self.failing(call):
            rescued = self.rescue()
        if not rescued:
            self.check_failed(call)
            return 'failed'
        self.check_rescued(call)
        self.assertTrue(self.unrescue())
        self.check_usual(call)
        return 'rescued'

    @ddt.data(*range(HANDS))
    def test_unrescue(self, hand):
        """L098: the server has its disks back; a rescue can follow."""
        self.rescue()
        calls = self.recorded(self.unrescue)
        self.sweep('Unrescue', calls, hand, HANDS, self.unrescue_with_fault)
        self.assertTrue(self.rescue())
        self.assertTrue(self.unrescue())
        self.check_usual('in the end')
        self.tidy_up()

    def unrescue_with_fault(self, call):
        self.assertTrue(self.rescue(), call)
        self.check_rescued(call)
        with self.failing(call):
            back = self.unrescue()
        if back:
            self.check_usual(call)
        self.assert_data(call)
        return 'back' if back else 'failed'
