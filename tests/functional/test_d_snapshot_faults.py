# SPDX-License-Identifier: Apache-2.0
"""Snapshots of an SMB volume in use, with every call failing once.

As in ``test_b_faults``. Cinder hears truly how it went, the guest has all
its data, runs on, and what Cinder believes of the files is true.
"""

import ddt

from tests.functional import sweepcase
from tests.functional import test_b_faults
from tests.functional import test_d_volume_snapshots

HANDS = 2
TEXT = b'the data'


class SnapshotFaults(test_d_volume_snapshots.SnapshotCase,
                     test_b_faults.FaultSweep):

    def boot_server(self):
        self.volume = self.add()
        self.server = self._wait_for_state_change(self.try_boot(), 'ACTIVE')
        self.attach(self.server, self.volume)
        self.write(self.server, self.volume, TEXT)
        self.base = self.volume.storage.name
        self.slot_before = self.slot(self.server, self.volume)
        self.boot_before = self.vm(self.server).boot
        self.before = self.seen()

    def check(self, what, name):
        """The guest runs on with its data in that file of the volume."""
        self.wait_for_no_task(self.volume)
        self.assertEqual('running', self.vm(self.server).state, what)
        self.assertEqual(self.boot_before, self.vm(self.server).boot, what)
        self.assertEqual(self.slot_before,
                         self.slot(self.server, self.volume), what)
        self.assertEqual(
            TEXT, self.guest_reads(self.server, self.volume), what)
        self.check_uses(self.server, self.volume, name)

    def check_as_before(self, what):
        self.check(what, self.base)
        self.assert_in_time(self.before, self.seen, what)
        self.assertEqual(TEXT, self.stored(self.volume, self.base), what)

    def tidy_up(self):
        """When the server is deleted, nothing is left."""
        self.check_as_before('in the end')
        self._delete_server(self.server)
        self.assert_problems([], 'deleted')


@ddt.ddt
class CreateSnapshotFaultsTest(SnapshotFaults):

    @ddt.data(*range(HANDS))
    def test_snapshot_is_made_or_not_at_all(self, hand):
        """L105, L106: whichever call fails."""
        self.boot_server()
        made = []
        calls = self.recorded(lambda: made.append(self.take(self.volume)))
        self.drop(made[0])
        self.check_as_before('without a fault')
        self.sweep('Volume snapshot', calls, hand, HANDS,
                   self.create_with_fault)
        self.tidy_up()

    def create_with_fault(self, call):
        with self.failing(call):
            snapshot = self.cinder.snapshot(self.volume)
        if snapshot.told[-1] == 'creating':
            self.check(call, snapshot.file)
            self.drop(snapshot)
        self.check_as_before(call)
        return snapshot.told[-1]


@ddt.ddt
class DeleteSnapshotFaultsTest(SnapshotFaults):

    @ddt.data(*range(HANDS))
    def test_last_snapshot_goes_in_the_end(self, hand):
        """L105, L106: the guest's file is merged into the one below."""
        self.boot_server()
        snapshot = self.take(self.volume)
        calls = self.recorded_deletion(snapshot)
        self.sweep('Deletion of the last volume snapshot', calls, hand,
                   HANDS, self.delete_with_fault)
        self.tidy_up()

    def delete_with_fault(self, call):
        snapshot = self.take(self.volume)
        told = self.fail_to_delete(snapshot, call)
        self.check_as_before(call)
        return told

    def recorded_deletion(self, snapshot):
        """Without the calls that Cinder makes itself."""
        calls = self.recorded(lambda: self.cinder.ask_to_delete(snapshot))
        self.wait_for_no_task(self.volume)
        self.assertEqual('deleting', self.cinder.finish_deletion(snapshot))
        return calls

    def fail_to_delete(self, snapshot, call):
        with self.failing(call):
            self.cinder.ask_to_delete(snapshot)
        self.wait_for_no_task(self.volume)
        told = self.cinder.finish_deletion(snapshot)
        if told == 'error_deleting':
            self.assertEqual('running', self.vm(self.server).state)
            self.assertEqual(
                TEXT, self.guest_reads(self.server, self.volume))
            self.drop(snapshot)
        return told

    @ddt.data(*range(HANDS))
    def test_middle_snapshot_goes_in_the_end(self, hand):
        """L106: merged, and the file above it has another parent.

        Before the merge all is as with the last one.
        """
        self.boot_server()
        first, self.last = self.take(self.volume), self.take(self.volume)
        calls = self.recorded_deletion(first)
        if not sweepcase.WHOLE:
            labels = [call.label for call in calls]
            calls = calls[labels.index('virtdisk.MergeVirtualDisk'):]
        self.sweep('Deletion of a middle volume snapshot', calls, hand,
                   HANDS, self.delete_middle_with_fault)
        self.drop(self.last)
        self.tidy_up()

    def delete_middle_with_fault(self, call):
        first, self.last = self.last, self.take(self.volume)
        told = self.fail_to_delete(first, call)
        self.check(call, self.last.file)
        return told
