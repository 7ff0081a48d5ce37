# SPDX-License-Identifier: Apache-2.0
"""nova-compute killed while it changes snapshots of SMB volumes in use.

As in ``test_b_crash``. The guest runs on, with the disk that it had and all
its data; Nova, Cinder and the host agree about the volume's file, and what
was not done can be done again.
"""

import collections

import ddt

from tests.functional import crashcase
from tests.functional import sweepcase
from tests.functional import test_d_volume_snapshots

HANDS = 8 if sweepcase.WHOLE else 24
TEXT = b'the data'


class SnapshotCrashCase(test_d_volume_snapshots.SnapshotCase,
                        crashcase.CrashTestCase):

    def boot_server(self, bus):
        """A server with a volume: a data disk, or on IDE what it boots."""
        if bus == 'IDE':
            self.volume = self.add(content=b'boot')
            self.server = self.boot_from(self.volume)
            self._suspend_server(self.server)
            self._resume_server(self.server)
        else:
            self.volume = self.add(data={
                'qos_specs': {'total_iops_sec': '500'}})
            self.server = self.boot(
                self.glance.add_disk('vhdx', **crashcase.GEN2))
            self.attach(self.server, self.volume)
        self.write(self.server, self.volume, TEXT)
        self.base = self.volume.storage.name
        self.slot_before = self.slot(self.server, self.volume)
        self.assertEqual(bus, self.slot_before[:-4])
        self.boot_before = self.boots()
        self.limit_before = self.limit()
        self.before = self.seen()

    def boots(self):
        """A guest that was saved goes on in another process."""
        return self.vm(self.server).vm.worker.guest.boots

    def limit(self):
        return next(item['IOPSLimit'] for item in self.vm(
            self.server).vm.media()
            if self.volume.id in item['HostResource'][0])

    def check(self, what, name):
        """The guest runs on with its data in that file of the volume."""
        self.wait_for_no_task(self.volume)
        self.assertEqual(
            'ACTIVE', self.api.get_server(self.server['id'])['status'], what)
        self.assertEqual('running', self.vm(self.server).state, what)
        self.assertEqual(self.boot_before, self.boots(), what)
        self.assertEqual(self.slot_before,
                         self.slot(self.server, self.volume), what)
        self.assertEqual(self.limit_before, self.limit(), what)
        self.assertEqual(
            TEXT, self.guest_reads(self.server, self.volume), what)
        self.check_uses(self.server, self.volume, name)

    def check_as_before(self, what):
        self.check(what, self.base)
        self.assert_in_time(self.before, self.seen, what)
        self.assertEqual(TEXT, self.stored(self.volume, self.base), what)

    # Both operations.

    def create_and_die(self, *call):
        asked = []
        what = self.run_and_die(lambda: asked.append(
            self.cinder.ask_for_snapshot(self.volume)), *call)
        snapshot, = asked
        outcome = snapshot.status
        if outcome == 'available':
            self.check(what, snapshot.file)
            self.drop(snapshot)
        elif outcome == 'creating':
            # Before the first note: Cinder's own limit of time ends it.
            self.silent += 1
        self.check_as_before(what)
        return outcome

    def delete_and_die(self, snapshot, *call):
        """Kill while a snapshot is deleted; in the end it is."""
        before = len(snapshot.told)
        what = self.run_and_die(
            lambda: self.cinder.begin_deletion(snapshot), *call)
        told = snapshot.told[before:]
        self.assertEqual('running', self.vm(self.server).state, what)
        self.assertEqual(
            TEXT, self.guest_reads(self.server, self.volume), what)
        if told == ['deleting']:
            self.cinder.finish_deletion(snapshot)
            return what, 'deleted'
        self.silent += not told
        outcome = snapshot.status
        self.drop(snapshot)
        return what, outcome

    def sweep(self, name, calls, hand, die):
        self.silent = 0
        own = calls[hand::HANDS]
        outcomes = collections.Counter(die(*call) for call in own)
        self.assertLessEqual(self.silent, 2)
        self.tell(name, own, calls, outcomes)


@ddt.ddt
class VolumeLifeCrashFaultsTest(SnapshotCrashCase):

    def creation(self, bus, hand):
        self.boot_server(bus)
        made = []
        calls = self.recorded(lambda: made.append(self.take(self.volume)))
        self.drop(made[0])
        self.check_as_before('without a kill')
        self.sweep(f'Volume snapshot ({bus})', calls, hand,
                   self.create_and_die)

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_snapshot(self, hand):
        """A9, L105, L106: made or not at all."""
        self.creation('SCSI', hand)

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_snapshot_on_ide(self, hand):
        """A9, L105: its VM is saved meanwhile."""
        self.creation('IDE', hand)

    def deletion(self, bus, hand):
        self.boot_server(bus)
        snapshot = self.take(self.volume)
        calls = self.recorded(lambda: self.drop(snapshot))

        def die(*call):
            what, outcome = self.delete_and_die(self.take(self.volume),
                                                *call)
            self.check_as_before(what)
            return outcome

        self.sweep(f'Deletion of a volume snapshot ({bus})', calls, hand,
                   die)

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_deletion(self, hand):
        """A9, L105, L106: the guest's file is merged into another."""
        self.deletion('SCSI', hand)

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_deletion_on_ide(self, hand):
        """A9, L105: its VM is saved meanwhile."""
        self.deletion('IDE', hand)

    @ddt.data(*sweepcase.hands(HANDS, usual=1))
    def test_deletion_of_a_middle_one(self, hand):
        """A9, L106: the file above it has another parent in the end."""
        self.boot_server('SCSI')
        first, self.last = self.take(self.volume), self.take(self.volume)
        calls = self.recorded(lambda: self.drop(first))

        def die(*call):
            first, self.last = self.last, self.take(self.volume)
            what, outcome = self.delete_and_die(first, *call)
            self.check(what, self.last.file)
            return outcome

        self.sweep('Deletion of a middle volume snapshot', calls, hand, die)
