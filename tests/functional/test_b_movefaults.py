# SPDX-License-Identifier: Apache-2.0
"""Moves of instances with every call to both hosts failing once.

The driver methods are called here in the order in which Nova's compute
manager calls them, over a server that real Nova has booted: that makes some
hundred moves affordable. Whichever call fails, the data is intact, nothing is
left on the host that the instance is not on, and it can be taken back.
"""

import ntpath
import os
import shutil

import ddt
import fixtures
from nova.compute import task_states
from nova import context as nova_context
from nova import exception
from nova import objects

from compute_hyperv.sim import disks
from compute_hyperv.sim import guestdisks
from tests.functional import base
from tests.functional import sweepcase
from tests.functional import volumecase

#: Tests that share the calls of one operation.
HANDS = 2

MARK = b'written by the guest' * 200
MARK_AT = 15 << 20
DISKS = ('root.vhdx', 'eph0.vhdx')


class MoveFaults(sweepcase.SweepMixin, volumecase.VolumeTestCase):
    """A server that moves from HV1 to HV2.

    It has local disks, a config drive, a port and an iSCSI volume.
    """

    HOSTS = ('HV1', 'HV2')
    DIR = base.INSTANCES_DIR
    #: GiB of both local disks in the new flavor.
    NEW_GIB = 2
    #: What is told of it.
    HOW = ''
    #: What the directory of the put-aside files ends in.
    ASIDE = '_revert'

    def _set_flags(self):
        super()._set_flags()
        self.flags(volume_attach_retry_count=0, group='hyperv')

    def setUp(self):
        super().setUp()
        image_id = self.glance.add_disk(hw_machine_type='hyperv-gen2')
        self.server = self.boot(
            image_id, networks='auto', host='HV1', config_drive=True,
            flavor_id=self.flavor(disk_gib=1, ephemeral_gib=1))
        self.volume = self.cinder.add_volume(content=MARK)
        self.attach(self.server, self.volume)
        self.name = self.server['OS-EXT-SRV-ATTR:instance_name']
        self.places = self.drives('HV1')
        self.context = nova_context.get_admin_context()
        self.instance = objects.Instance.get_by_uuid(
            self.context, self.server['id'],
            expected_attrs=['flavor', 'metadata', 'system_metadata',
                            'device_metadata', 'info_cache'])
        self.old = self.instance.flavor
        self.new = objects.Flavor.get_by_flavor_id(
            self.context, self.flavor(disk_gib=self.NEW_GIB,
                                      ephemeral_gib=self.NEW_GIB,
                                      vcpus=2))
        self.record = objects.Migration(
            context=self.context, instance_uuid=self.instance.uuid,
            source_compute='HV1', dest_compute='HV2', status='migrating',
            migration_type='resize', cross_cell_move=False)
        manager = self.computes['HV1'].manager
        self.network_info = manager.network_api.get_instance_nw_info(
            self.context, self.instance)
        self.devices = manager._get_instance_block_device_info(
            self.context, self.instance)
        # Cinder lets both hosts at it for as long as the test lasts.
        self.fabric.san.grant(
            self.volume.storage.iqn, self.driver('HV2').get_volume_connector(
                self.instance)['initiator'])
        # Nova leaves the power state of an instance at work alone.
        self.instance.task_state = task_states.RESIZE_MIGRATING
        self.instance.save()
        self.write()
        # The images are in the caches of both hosts in all runs.
        self.receive(self.give_away())
        self.take_back()
        self.before = self.problems()

    # What Nova calls.

    def give_away(self):
        self.instance.old_flavor = None
        return self.driver('HV1').migrate_disk_and_power_off(
            self.context, self.instance, 'HV2', self.new, self.network_info,
            self.devices, 0, 0)

    def receive(self, disk_info):
        self.instance.old_flavor = self.old
        self.instance.flavor = self.new
        self.driver('HV2').finish_migration(
            self.context, self.record, self.instance, disk_info,
            self.network_info, self.instance.image_meta, True, {},
            self.devices, True)

    def leave_target(self):
        self.driver('HV2').destroy(self.context, self.instance,
                                   self.network_info, self.devices, True)

    def return_to_source(self):
        self.instance.flavor = self.old
        self.instance.old_flavor = None
        self.driver('HV1').finish_revert_migration(
            self.context, self.instance, self.network_info, self.record,
            self.devices, True)

    def take_back(self):
        self.leave_target()
        self.return_to_source()

    # What is to be seen.

    def path(self, suffix='', name='root.vhdx'):
        return ntpath.join(self.DIR, self.name + suffix, name)

    def write(self):
        self.view('HV1').turn_off(self.view('HV1').vm(self.name))
        storage = self.fabric.host('HV1').storage
        for name in DISKS:
            path = self.path(name=name)
            with disks.open_disk(storage.local(path), writable=True,
                                 resolve=storage.local,
                                 win_path=path) as disk:
                disk.write(MARK_AT, MARK)
        self.contents = [self.content(self.path(name=name))
                         for name in DISKS]

    def assert_data(self, host, what, suffix=''):
        for name, content in zip(DISKS, self.contents, strict=True):
            self.assertTrue(content == self.content(
                self.path(suffix, name), host), (what, name))

    def drives(self, host):
        """What is where in the server's VM on a host."""
        vm = self.view(host).vm(self.name)
        return ([(drive.name, drive.bus, drive.lun) for drive in vm.drives] +
                [(disk.tag, disk.controller, disk.slot)
                 for disk in guestdisks.of(vm.vm) if disk.is_physical])

    def assert_whole(self, host, what):
        """The server runs on a host, with everything in its place."""
        vm = self.view(host).vm(self.name)
        self.assertEqual('running', vm.state, what)
        self.assertEqual(self.places, self.drives(host), what)
        self.assert_data(host, what)
        self.assert_sessions(host, 1, what)
        volume = next(disk for disk in guestdisks.of(vm.vm)
                      if disk.tag == self.volume.id)
        self.assertEqual(MARK, volume.read(0, len(MARK)), what)

    def assert_sessions(self, host, count, what):
        """Of the host's iSCSI initiator."""
        self.assertEqual(count, len(
            self.fabric.host(host).initiator.sessions), what)

    def assert_at_source(self, what):
        self.assert_whole('HV1', what)
        self.assertFalse(self.view('HV1').exists(
            ntpath.dirname(self.path('_revert'))), what)
        self.assert_gone('HV2', what)
        self.assert_problems(self.before, what)

    def tidy_up(self):
        """When the server is deleted, nothing is left anywhere."""
        self.driver('HV1').destroy(self.context, self.instance,
                                   self.network_info, self.devices)
        self.assert_problems([], 'deleted')

    def assert_gone(self, host, what):
        view = self.view(host)
        self.assertEqual([], view.vm_names, what)
        self.assert_sessions(host, 0, what)
        self.assertFalse(view.exists(ntpath.dirname(self.path())), what)

    def sweep_all(self, what, run, hand, fail, hands=HANDS):
        """Record *run* and let *fail* break its calls to both hosts."""
        calls = self.recorded(run, self.HOSTS)
        self.sweep(what, calls, hand, hands, fail)


@ddt.ddt
class SourceAndTarget:

    @ddt.data(*range(HANDS))
    def test_source(self, hand):
        """L086: it stays, unchanged and running, or it goes."""
        self.sweep_all(f'Resize{self.HOW}, source', self.give_away, hand,
                       self.give_away_with_fault)
        self.tidy_up()

    def give_away_with_fault(self, call):
        if not self.view('HV1').vm_names:       # it was recorded
            self.return_to_source()
        with self.failing(call):
            try:
                self.give_away()
                outcome = 'left'
            except exception.InstanceFaultRollback:
                outcome = 'stayed'
        if outcome == 'left':
            self.assert_data('HV1', call, self.ASIDE)
            self.assert_gone('HV1', call)
            self.return_to_source()
        self.assert_at_source(call)
        return outcome

    @ddt.data(*range(HANDS))
    def test_target(self, hand):
        """L085: the target has it, or nothing; the source can go back."""
        disk_info = self.give_away()
        away = self.problems()

        def receive(call):
            if self.view('HV2').vm_names:       # it was recorded
                self.leave_target()
            with self.failing(call):
                try:
                    self.receive(disk_info)
                    outcome = 'arrived'
                except exception.NovaException:
                    outcome = 'failed'
            if outcome == 'arrived':
                self.assert_whole('HV2', call)
                self.leave_target()
            self.assert_gone('HV2', call)
            self.assert_data('HV1', call, self.ASIDE)
            self.assert_problems(away, call)
            return outcome

        self.sweep_all(f'Resize{self.HOW}, target',
                       lambda: self.receive(disk_info), hand, receive)
        self.return_to_source()
        self.assert_at_source('in the end')
        self.tidy_up()

    @ddt.data(*range(HANDS))
    def test_return(self, hand):
        """L092: a return that fails can be repeated."""
        self.give_away()
        self.sweep_all(f'Revert{self.HOW}, source', self.return_to_source,
                       hand, self.return_with_fault)
        self.tidy_up()

    def return_with_fault(self, call):
        self.give_away()
        with self.failing(call):
            try:
                self.return_to_source()
                outcome = 'returned'
            except exception.NovaException:
                outcome = 'repeated'
        self.return_to_source()
        self.assert_at_source(call)
        return outcome


class ResizeFaultsTest(SourceAndTarget, MoveFaults):
    """Disks that are copied to the other host."""

    def test_leaving(self):
        """L092: so can leaving the target."""
        disk_info = self.give_away()
        away = self.problems()

        def leave(call):
            self.receive(disk_info)
            with self.failing(call):
                try:
                    self.leave_target()
                    outcome = 'left'
                except exception.NovaException:
                    outcome = 'repeated'
            self.leave_target()
            self.assert_gone('HV2', call)
            self.assert_data('HV1', call, self.ASIDE)
            self.assert_problems(away, call)
            return outcome

        self.receive(disk_info)
        self.sweep_all('Revert, target', self.leave_target, 0, leave, 1)
        self.return_to_source()
        self.assert_at_source('in the end')
        self.tidy_up()

    def test_half_built_vm_is_made_anew(self):
        """L092: one that a killed return has left without its drives."""
        self.give_away()
        self.driver('HV1')._win.vm.create_vm(
            self.name, False, 2, ntpath.dirname(self.path()),
            notes=[self.instance.uuid])
        self.return_to_source()
        self.assert_at_source('in the end')

    def test_confirmation(self):
        """L085: a confirmation that fails can be repeated."""
        confirm = self.driver('HV1').confirm_migration
        arguments = (self.context, self.record, self.instance,
                     self.network_info)
        self.give_away()
        self.backup()

        def confirm_with_fault(call):
            self.restore()
            with self.failing(call):
                try:
                    confirm(*arguments)
                    outcome = 'confirmed'
                except exception.NovaException:
                    outcome = 'repeated'
            confirm(*arguments)
            self.assert_gone('HV1', call)
            self.assert_problems([], 'deleted')
            return outcome

        self.sweep_all('Confirm', lambda: confirm(*arguments), 0,
                       confirm_with_fault, 1)

    def backup(self):
        self.revert_dir = self.fabric.host('HV1').storage.local(
            ntpath.dirname(self.path('_revert')))
        self.copy = os.path.join(self.useFixture(fixtures.TempDir()).path,
                                 'copy')
        shutil.copytree(self.revert_dir, self.copy)

    def restore(self):
        shutil.copytree(self.copy, self.revert_dir, dirs_exist_ok=True)


class StayingFaultsTest(SourceAndTarget, MoveFaults):
    """Disks that stay where they are, on a share."""

    HOW = ' with disks that stay'
    DIR = r'\\nas\instances'
    NEW_GIB = 1
    ASIDE = ''

    def _set_flags(self):
        super()._set_flags()
        self.flags(instances_path=self.DIR)
        self.flags(move_disks_on_cold_migration=False, group='hyperv')

    def _new_fabric(self, hosts):
        fabric = super()._new_fabric(hosts)
        fabric.shares.add(self.DIR, 500 << 30)
        return fabric

    def leave_target(self):
        # As Nova does on storage that both hosts share.
        self.driver('HV2').destroy(self.context, self.instance,
                                   self.network_info, self.devices, False)

    def assert_gone(self, host, what):
        view = self.view(host)
        self.assertEqual([], view.vm_names, what)
        self.assert_sessions(host, 0, what)
        home = ntpath.dirname(self.path())
        self.assertFalse(view.exists(home + r'\import'), what)
        self.assert_data(host, what)
