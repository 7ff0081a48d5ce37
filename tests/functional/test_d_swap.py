# SPDX-License-Identifier: Apache-2.0
"""Volumes that Cinder moves to another backend while servers use them."""

import os
import re

import ddt
from nova import context
from nova import objects
from oslo_serialization import jsonutils

from compute_hyperv.sim import jobs
from tests.functional import base
from tests.functional import exports
from tests.functional import test_b_faults
from tests.functional import volumecase

GEN2 = {'hw_machine_type': 'hyperv-gen2'}
OTHER = r'\\FILER\faster'
GIB = 1 << 30


class SwapCase(volumecase.VolumeTestCase):
    """Two shares; volumes move from the first to the second."""

    def setUp(self):
        super().setUp()
        for share in (exports.SHARE, OTHER):
            self.fabric.shares.add(share, 10 << 30)

    def add(self, kind=exports.SMB, **kwargs):
        volume = self.cinder.add_volume(kind=kind, **kwargs)
        self.fabric.mark()
        return volume

    def migrate(self, server, volume, other):
        """Move a volume in use as Cinder does; 'Success' or 'Error'."""
        return self.result_of(
            server, 'swap_volume',
            lambda: self.begin_migration(server, volume, other))

    def begin_migration(self, server, volume, other):
        self.cinder.begin_migration(volume, other)
        self.api.api_put(
            f"/servers/{server['id']}/os-volume_attachments/{volume.id}",
            {'volumeAttachment': {'volumeId': other.id}})

    def problems(self):
        """What is open and left, whichever volume and share it is."""
        return sorted(
            re.sub('volume-[0-9a-f-]{36}', 'volume', text).replace(
                OTHER, exports.SHARE) for text in self.seen()
            if 'volume-swap.json' not in text)

    def check_files(self, share, name, what):
        """The two shares have the one file."""
        for each in (exports.SHARE, OTHER):
            folder = self.fabric.shares.share(*each.strip('\\').split(
                '\\')).root
            self.assertEqual([name] if each == share else [],
                             os.listdir(folder), what)

    def known(self, server, volume):
        """What Nova would attach anew: share and file."""
        bdm = objects.BlockDeviceMapping.get_by_volume_and_instance(
            context.get_admin_context(), volume.id, server['id'])
        connection = jsonutils.loads(bdm.connection_info)
        self.assertEqual(volume.id, connection['serial'])
        return connection['data']['export'], connection['data']['name']

    def check_at(self, server, volume, share, name):
        """VM and Nova agree about the file, and it has the slot."""
        self.assertEqual(rf'{share}\{name}',
                         self.drive_of(server, volume).path)
        self.assertEqual((share, name), self.known(server, volume))

    def read(self, server, volume):
        return self.drive_of(server, volume).read(4096, 8)


@ddt.ddt
class SwapTest(SwapCase):

    def attached(self, **kwargs):
        server = self.boot(self.glance.add_disk('vhdx', **GEN2))
        volume = self.add(**kwargs)
        self.attach(server, volume)
        self.drive_of(server, volume).write(4096, b'the data')
        return server, volume

    @ddt.data('running', 'paused')
    def test_volume_moves_under_the_server(self, state):
        """D2: slot, limits and data are the same, and the volume's id."""
        server, volume = self.attached(data={'qos_specs': {
            'total_iops_sec': '500'}})
        slot, boot = self.slot(server, volume), self.vm(server).boot
        other = self.add(share=OTHER)
        old, name = volume.storage.path, other.storage.name
        if state == 'paused':
            self.api.post_server_action(server['id'], {'pause': None})
            self._wait_for_state_change(server, 'PAUSED')
        self.assertEqual('Success', self.migrate(server, volume, other))
        self.assertEqual(state, self.vm(server).state)
        self.assertEqual((slot, boot), (
            self.slot(server, volume), self.vm(server).boot))
        self.check_at(server, volume, OTHER, name)
        self.assertEqual(b'the data', self.read(server, volume))
        self.drive_of(server, volume).write(4096, b'later on')
        self.assertEqual(b'later on', volume.read(4096, 8))
        self.assertFalse(os.path.exists(old))
        medium = next(item for item in self.vm(server).vm.media()
                      if name in item['HostResource'][0])
        self.assertEqual(500, medium['IOPSLimit'])
        self.detach(server, volume)
        self._delete_server(server)
        self.fabric.assert_clean()

    def test_larger_volume_is_seen_by_the_guest(self):
        """D2: Cinder may give a larger one."""
        server, volume = self.attached()
        other = self.add(share=OTHER, size_gib=2)
        self.assertEqual('Success', self.migrate(server, volume, other))
        self.assertEqual(2 * GIB, self.drive_of(server, volume).size_bytes)
        self.assertEqual(b'the data', self.read(server, volume))
        self.assertEqual('running', self.vm(server).state)

    @ddt.data('passed through', 'to a physical disk', 'other format')
    def test_what_hyperv_cannot_copy_is_refused(self, what):
        """D2: before anything has changed."""
        kinds = [exports.SMB, exports.SMB]
        if what == 'passed through':
            kinds = [exports.ISCSI, exports.SMB]
        elif what == 'to a physical disk':
            kinds = [exports.SMB, exports.ISCSI]
        server, volume = self.attached(kind=kinds[0])
        other = self.add(kind=kinds[1], **(
            {'fmt': 'vhd'} if what == 'other format' else {}))
        sessions = len(self.host.initiator.sessions)
        self.assertEqual('Error', self.migrate(server, volume, other))
        self.assertEqual(sessions, len(self.host.initiator.sessions))
        self.assertEqual(b'the data', self.read(server, volume))
        self.assertTrue(self._is_known(server, volume))
        self.detach(server, volume)
        self._delete_server(server)
        self.fabric.assert_clean()

    def test_move_that_breaks_off_changes_nothing(self):
        """D2: the share is full, say."""
        server, volume = self.attached()
        other = self.add(share=OTHER)
        name, target = volume.storage.name, other.storage.folder
        with self.fabric.faults.failing(match='Moving Storage',
                                        at_percent=50):
            self.assertEqual('Error', self.migrate(server, volume, other))
        self.check_at(server, volume, exports.SHARE, name)
        self.assertEqual(b'the data', self.read(server, volume))
        self.assertEqual([], os.listdir(target))


class SlowSwapTest(SwapCase):
    """D2: a copy that takes too long, and that Hyper-V does not cancel."""

    #: What asks for the jobs on a VM, to end them.
    JOBS = 'Msvm_AffectedJobElement'

    def setUp(self):
        super().setUp()
        self.server = self.boot(self.glance.add_disk('vhdx', **GEN2))
        self.volume, self.other = self.add(), self.add(share=OTHER)
        self.attach(self.server, self.volume)
        self.drive_of(self.server, self.volume).write(4096, b'the data')

    def limit(self, end_s):
        """A copy may take a second now, and its end so many."""
        self.flags(snapshot_timeout=1, vm_operation_timeout=end_s,
                   group='hyperv')
        self.restart_compute('HV1')
        self.fabric.faults.add(kind='method', times=None,
                               match='*Job.RequestStateChange')

    def begin(self):
        """Begin the copy; it stays half way."""
        self.begin_migration(self.server, self.volume, self.other)
        self.until(self.host.jobs.pending, 'copy begun')

    def test_copy_that_ends_late_has_moved_the_volume(self):
        self.limit(base.PATIENCE_S)

        def begin():
            with (self.fabric.recorder.recording() as calls,
                  self.host.jobs.held(jobs.MOVE_STORAGE, 50)):
                self.begin()
                self.until(lambda: [call for call in list(calls)
                                    if self.JOBS in call.label],
                           'past the limit of the copy')
        self.assertEqual('Success', self.result_of(
            self.server, 'swap_volume', begin))
        self.check_at(self.server, self.volume, OTHER,
                      self.other.storage.name)
        self.assertEqual(b'the data', self.read(self.server, self.volume))

    def test_copy_that_does_not_end_loses_nothing(self):
        self.limit(5)
        with self.host.jobs.held(jobs.MOVE_STORAGE, 50):
            self.assertEqual('Error', self.result_of(
                self.server, 'swap_volume', self.begin))
            self.assertIn('nobody can tell; nothing is removed',
                          self.stdlog.logger.output)
            self.assertIn('Moving Storage (50 %)', self.stdlog.logger.output)
            self.assertTrue(os.path.exists(self.volume.storage.path))
        self.until(lambda: not self.host.jobs.pending(), 'copy ended')
        self.assertEqual(b'the data', self.read(self.server, self.volume))
        self.assertEqual('running', self.vm(self.server).state)


HANDS = 2


@ddt.ddt
class SwapFaultsTest(SwapCase, test_b_faults.FaultSweep):

    @ddt.data(*range(HANDS))
    def test_volume_is_here_or_there(self, hand):
        """D2: whichever call fails, nobody believes the wrong thing."""
        self.server = self._wait_for_state_change(self.try_boot(), 'ACTIVE')
        self.volume = self.add()
        self.attach(self.server, self.volume)
        self.drive_of(self.server, self.volume).write(4096, b'the data')
        self.before = self.problems()
        self.shares = [OTHER, exports.SHARE]
        calls = self.recorded(lambda: self.move())
        self.sweep('Swap of volumes', calls, hand, HANDS,
                   self.move_with_fault)
        self._delete_server(self.server)
        self.assert_problems([], 'deleted')

    def pattern(self, label):
        """They change places with each move."""
        for share in self.shares:
            label = label.replace(share, '*')
        return super().pattern(label)

    def move(self):
        """To the other share; the outcome, and where it should be then."""
        share, other_share = self.shares
        name = self.volume.storage.name
        other = self.add(share=share)
        new_name = other.storage.name
        outcome = self.migrate(self.server, self.volume, other)
        if outcome == 'Success':
            self.shares = [other_share, share]
            return outcome, share, new_name
        return outcome, other_share, name

    def move_with_fault(self, call):
        with self.failing(call):
            outcome, share, name = self.move()
        self.check_at(self.server, self.volume, share, name)
        self.assertEqual(b'the data', self.read(self.server, self.volume))
        self.assertEqual('running', self.vm(self.server).state, call)
        self.assert_in_time(self.before, self.problems, call)
        self.check_files(share, name, call)
        return outcome
