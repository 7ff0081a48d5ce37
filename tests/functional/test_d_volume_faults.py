# SPDX-License-Identifier: Apache-2.0
"""Attach, detach and delete with every call to the host failing once.

As in ``test_b_faults``: a good run is recorded, then each of its calls fails
in a run of its own. Nova says truly whether the volume is attached, its data
is intact, and nothing is left on the host.
"""

import collections

import ddt

from tests.functional import test_b_faults
from tests.functional import volumecase

HANDS = 4
TEXT = b'data of the user'


class VolumeFaults(volumecase.VolumeTestCase, test_b_faults.FaultSweep):
    """One server of generation 2, and a volume with CHAP."""

    def _set_flags(self):
        super()._set_flags()
        self.flags(volume_attach_retry_count=0, group='hyperv')

    def setUp(self):
        super().setUp()
        self.volume = self.cinder.add_volume(content=TEXT, chap=True)

    def boot_server(self):
        self.server = self._wait_for_state_change(self.try_boot(), 'ACTIVE')
        self.before = sorted(self.fabric.problems())

    def check_as_before(self, what):
        """Nothing of the volume is left, the server runs on."""
        self.assertEqual(self.before, sorted(self.fabric.problems()), what)
        self.assertEqual('running', self.vm(self.server).state, what)
        self.assertFalse(self._is_known(self.server, self.volume), what)
        self.assertEqual(TEXT, self.volume.read(0, len(TEXT)), what)

    def check_attached(self, what):
        self.assertTrue(self._is_known(self.server, self.volume), what)
        disk = self.drive_of(self.server, self.volume)
        self.assertEqual(TEXT, disk.read(0, len(TEXT)), what)


@ddt.ddt
class AttachFaultsTest(VolumeFaults):

    @ddt.data(*range(HANDS))
    def test_volume_is_attached_or_not_at_all(self, hand):
        """L112, L001: whichever call fails."""
        self.boot_server()
        calls = self.recorded(
            lambda: self.attach(self.server, self.volume))
        self.detach(self.server, self.volume)
        self.check_as_before('without a fault')
        outcomes = collections.Counter(
            self.attach_with_fault(*call) for call in calls[hand::HANDS])
        self.attach(self.server, self.volume)
        self.tell(f'Attach: {outcomes.total()} of {len(calls)} calls failed '
                  f'once each: {outcomes["Error"]} attaches failed, '
                  f'{outcomes["Success"]} got over it')
        self.assertEqual(len(calls[hand::HANDS]), outcomes.total())

    def attach_with_fault(self, kind, number, label):
        what = f'{kind} {number} {label}'
        with self.failing(kind, number):
            result = self.try_attach(self.server, self.volume)
        if result == 'Success':
            self.check_attached(what)
            self.detach(self.server, self.volume)
        self.check_as_before(what)
        return result


@ddt.ddt
class DetachFaultsTest(VolumeFaults):

    @ddt.data(*range(HANDS))
    def test_detach_works_in_the_end(self, hand):
        """L109, L112: whichever call fails, it can be repeated."""
        self.boot_server()
        self.attach(self.server, self.volume)
        calls = self.recorded(
            lambda: self.detach(self.server, self.volume))
        outcomes = collections.Counter(
            self.detach_with_fault(*call) for call in calls[hand::HANDS])
        self.tell(f'Detach: {outcomes.total()} of {len(calls)} calls failed '
                  f'once each: {outcomes["Error"]} detaches had to be '
                  f'repeated, {outcomes["Success"]} got over it')

    def detach_with_fault(self, kind, number, label):
        what = f'{kind} {number} {label}'
        self.attach(self.server, self.volume)
        with self.failing(kind, number):
            result = self.try_detach(self.server, self.volume)
        if result == 'Error':
            self.assertTrue(self._is_known(self.server, self.volume), what)
            self.detach(self.server, self.volume)
        self.check_as_before(what)
        return result
