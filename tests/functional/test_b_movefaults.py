# SPDX-License-Identifier: Apache-2.0
"""Moves of instances with every call to both hosts failing once.

The driver methods are called here in the order in which Nova's compute
manager calls them, over a server that real Nova has booted: that makes some
hundred moves affordable. Whichever call fails, the data is intact, nothing is
left on the host that the instance is not on, and it can be taken back.
"""

import collections
import ntpath
import sys

import ddt
from nova.compute import task_states
from nova import context as nova_context
from nova import exception
from nova import objects

from compute_hyperv.sim import disks
from compute_hyperv.sim import guestdisks
from tests.functional import base
from tests.functional import test_b_faults
from tests.functional import volumecase

#: Tests that share the calls of one operation.
HANDS = 4

MARK = b'written by the guest' * 200
MARK_AT = 15 << 20


class MoveFaults(volumecase.VolumeTestCase):
    """A server that moves from HV1 to HV2.

    It has local disks, a config drive, a port and an iSCSI volume.
    """

    HOSTS = ('HV1', 'HV2')
    DIR = base.INSTANCES_DIR
    #: GiB of both local disks in the new flavor.
    NEW_GIB = 2
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
            self.context, None, self.instance, disk_info, self.network_info,
            self.instance.image_meta, True, {}, self.devices, True)

    def leave_target(self):
        self.driver('HV2').destroy(self.context, self.instance,
                                   self.network_info, self.devices, True)

    def return_to_source(self):
        self.instance.flavor = self.old
        self.instance.old_flavor = None
        self.driver('HV1').finish_revert_migration(
            self.context, self.instance, self.network_info, None,
            self.devices, True)

    def take_back(self):
        self.leave_target()
        self.return_to_source()

    # What is to be seen.

    def path(self, suffix=''):
        return ntpath.join(self.DIR, self.name + suffix, 'root.vhdx')

    def write(self):
        self.view('HV1').turn_off(self.view('HV1').vm(self.name))
        storage = self.fabric.host('HV1').storage
        with disks.open_disk(storage.local(self.path()), writable=True,
                             resolve=storage.local,
                             win_path=self.path()) as disk:
            disk.write(MARK_AT, MARK)

    def assert_data(self, host, what, suffix=''):
        with self.open_disk(self.path(suffix), host) as disk:
            self.assertEqual(MARK, disk.read(MARK_AT, len(MARK)), what)

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

    def assert_gone(self, host, what):
        view = self.view(host)
        self.assertEqual([], view.vm_names, what)
        self.assert_sessions(host, 0, what)
        self.assertFalse(view.exists(ntpath.dirname(self.path())), what)

    # Sweeping.

    def recorded(self, operation):
        """(host, kind, pattern, number among those, label) of all calls."""
        with self.fabric.recorder.recording() as calls:
            operation()
        numbers = collections.Counter()
        found = []
        for call in calls:
            if call.kind in test_b_faults.KINDS:
                which = call.host, call.kind, self.pattern(call)
                numbers[which] += 1
                found.append((*which, numbers[which], call.label))
        return [call for call in found
                if call[4] not in test_b_faults.CLOSING]

    def pattern(self, call):
        """Functions are counted each: other threads close files, too."""
        return (call.label.split()[0] + '*' if call.kind in ('file', 'dll')
                else '*')

    def failing(self, call):
        host, kind, pattern, number, _label = call
        return self.fabric.faults.failing(host=host, kind=kind,
                                          match=pattern, nth=number)

    def tell(self, what, own, calls, outcomes):
        print(f'{what}: {len(own)} of {len(calls)} calls failed once each: '
              + ', '.join(f'{count} {outcome}' for outcome, count
                          in sorted(outcomes.items()))
              + f' ({base.mode()})', file=sys.__stderr__)

    def sweep_source(self, hand):
        calls = self.recorded(self.give_away)
        self.return_to_source()
        own, outcomes = calls[hand::HANDS], collections.Counter()
        for call in own:
            with self.failing(call):
                try:
                    self.give_away()
                    outcome = 'left'
                except exception.InstanceFaultRollback:
                    outcome = 'stayed'
            outcomes[outcome] += 1
            if outcome == 'left':
                self.assert_data('HV1', call, self.ASIDE)
                self.assert_gone('HV1', call)
                self.return_to_source()
            self.assert_at_source(call)
        self.tell('Resize, source', own, calls, outcomes)

    def sweep_target(self, hand):
        disk_info = self.give_away()
        calls = self.recorded(lambda: self.receive(disk_info))
        self.leave_target()
        own, outcomes = calls[hand::HANDS], collections.Counter()
        for call in own:
            with self.failing(call):
                try:
                    self.receive(disk_info)
                    outcome = 'arrived'
                except exception.NovaException:
                    outcome = 'failed'
            outcomes[outcome] += 1
            if outcome == 'arrived':
                self.assert_whole('HV2', call)
                self.leave_target()
            self.assert_gone('HV2', call)
            self.assert_data('HV1', call, self.ASIDE)
        self.return_to_source()
        self.assert_at_source('in the end')
        self.tell('Resize, target', own, calls, outcomes)

    def sweep_return(self, hand):
        self.give_away()
        calls = self.recorded(self.return_to_source)
        own, outcomes = (calls[hand::HANDS // 2], collections.Counter())
        for call in own:
            self.give_away()
            with self.failing(call):
                try:
                    self.return_to_source()
                    outcomes['returned'] += 1
                except exception.NovaException:
                    outcomes['repeated'] += 1
            self.return_to_source()
            self.assert_at_source(call)
        self.tell('Revert, source', own, calls, outcomes)


@ddt.ddt
class ResizeFaultsTest(MoveFaults):
    """Source, target, confirmation and return of a resize."""

    @ddt.data(*range(HANDS))
    def test_source(self, hand):
        """L086: it stays, unchanged and running, or it goes."""
        self.sweep_source(hand)

    @ddt.data(*range(HANDS))
    def test_target(self, hand):
        """L085: the target has it, or nothing; the source can go back."""
        self.sweep_target(hand)

    @ddt.data(*range(HANDS // 2))
    def test_return(self, hand):
        """L092: a return that fails can be repeated."""
        self.sweep_return(hand)

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
        arguments = (self.context, None, self.instance, self.network_info)
        self.give_away()
        backup = {}
        storage = self.fabric.host('HV1').storage
        for path in self.below(ntpath.dirname(self.path('_revert'))):
            with open(storage.local(path), 'rb') as stream:
                backup[path] = stream.read()
        calls = self.recorded(lambda: confirm(*arguments))
        outcomes = collections.Counter()
        for call in calls:
            self.restore(backup)
            with self.failing(call):
                try:
                    confirm(*arguments)
                    outcomes['confirmed'] += 1
                except exception.NovaException:
                    outcomes['repeated'] += 1
            confirm(*arguments)
            self.assertFalse(self.view('HV1').exists(
                ntpath.dirname(self.path('_revert'))), call)
        self.tell('Confirm', calls, calls, outcomes)

    def below(self, directory):
        """Paths of all files in a directory of HV1, at any depth."""
        files = self.driver('HV1')._win.files
        for name in files.list_dir(directory):
            path = ntpath.join(directory, name)
            if files.is_dir(path):
                yield from self.below(path)
            else:
                yield path

    def restore(self, backup):
        files = self.driver('HV1')._win.files
        for path, content in backup.items():
            files.make_dirs(ntpath.dirname(path))
            with files.open(path, 'wb') as stream:
                stream.write(content)


@ddt.ddt
class StayingFaultsTest(MoveFaults):
    """Disks that stay where they are, on a share; a part of the calls."""

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

    @ddt.data(1)
    def test_source(self, hand):
        """L086: no file has moved."""
        self.sweep_source(hand)

    @ddt.data(1)
    def test_target(self, hand):
        """L085: the disks are not touched."""
        self.sweep_target(hand)
