# SPDX-License-Identifier: Apache-2.0
"""Attach, detach and delete with every call to the host failing once.

As in ``test_b_faults``: a good run is recorded, then each of its calls fails
in a run of its own. Nova says truly whether the volume is attached, its data
is intact, and nothing is left on the host.
"""

import ddt

from tests.functional import test_b_faults
from tests.functional import test_d_protocols
from tests.functional import volumecase

HANDS = 2
TEXT = b'data of the user'

#: Outcomes, as they are told.
ATTACHED = {'Success': 'attached', 'Error': 'not attached'}
DETACHED = {'Success': 'detached', 'Error': 'repeated'}


class VolumeFaults(volumecase.VolumeTestCase, test_b_faults.FaultSweep):
    """One server of generation 2, and a volume over iSCSI with CHAP."""

    protocol = 'iSCSI'

    def _set_flags(self):
        super()._set_flags()
        self.flags(volume_attach_retry_count=0, group='hyperv')

    def add(self, **kwargs):
        return self.cinder.add_volume(chap=True, **kwargs)

    def forget(self):
        """Nothing to do: the disk goes with its session."""

    def boot_server(self):
        self.volume = self.add(content=TEXT)
        self.server = self._wait_for_state_change(self.try_boot(), 'ACTIVE')
        self.before = self.seen()

    def tidy_up(self):
        """When the server is deleted, nothing is left."""
        self._delete_server(self.server)
        self.forget()
        self.fabric.assert_clean()
        self.assertEqual(TEXT, self.volume.read(0, len(TEXT)))

    def check_as_before(self, what):
        """Nothing of the volume is left, the server runs on."""
        self.forget()
        self.assert_in_time(self.before, self.seen, what)
        self.assertEqual('running', self.vm(self.server).state, what)
        self.assertFalse(self._is_known(self.server, self.volume), what)
        self.assertEqual(TEXT, self.volume.read(0, len(TEXT)), what)

    def check_attached(self, what):
        self.assertTrue(self._is_known(self.server, self.volume), what)
        disk = self.drive_of(self.server, self.volume)
        self.assertEqual(TEXT, disk.read(0, len(TEXT)), what)


@ddt.ddt
class AttachSweep:

    @ddt.data(*range(HANDS))
    def test_volume_is_attached_or_not_at_all(self, hand):
        """L112, L001: whichever call fails."""
        self.boot_server()
        calls = self.recorded(
            lambda: self.attach(self.server, self.volume))
        self.detach(self.server, self.volume)
        self.check_as_before('without a fault')
        self.sweep(f'Attach over {self.protocol}', calls, hand, HANDS,
                   self.attach_with_fault)
        self.attach(self.server, self.volume)
        self.tidy_up()

    def attach_with_fault(self, call):
        with self.failing(call):
            result = self.try_attach(self.server, self.volume)
        if result == 'Success':
            self.check_attached(call)
            self.detach(self.server, self.volume)
        self.check_as_before(call)
        return ATTACHED[result]


@ddt.ddt
class DetachSweep:

    @ddt.data(*range(HANDS))
    def test_detach_works_in_the_end(self, hand):
        """L109, L112: whichever call fails, it can be repeated."""
        self.boot_server()
        self.attach(self.server, self.volume)
        calls = self.recorded(
            lambda: self.detach(self.server, self.volume))
        self.sweep(f'Detach over {self.protocol}', calls, hand, HANDS,
                   self.detach_with_fault)
        self.tidy_up()

    def detach_with_fault(self, call):
        self.attach(self.server, self.volume)
        with self.failing(call):
            result = self.try_detach(self.server, self.volume)
        if result == 'Error':
            self.assertTrue(self._is_known(self.server, self.volume), call)
            self.detach(self.server, self.volume)
        self.check_as_before(call)
        return DETACHED[result]


class AttachFaultsTest(AttachSweep, VolumeFaults):
    pass


class DetachFaultsTest(DetachSweep, VolumeFaults):
    pass


class SMBFaults(test_d_protocols.SMBVolumes, VolumeFaults):
    protocol = 'SMB'


class SMBAttachFaultsTest(AttachSweep, SMBFaults):
    pass


class SMBDetachFaultsTest(DetachSweep, SMBFaults):
    pass


class FibreChannelFaults(test_d_protocols.FibreChannelPathsVolumes,
                         VolumeFaults):
    protocol = 'Fibre Channel'


class FibreChannelAttachFaultsTest(AttachSweep, FibreChannelFaults):
    pass


class FibreChannelDetachFaultsTest(DetachSweep, FibreChannelFaults):
    pass


class RBDFaults(test_d_protocols.RBDVolumes, VolumeFaults):
    protocol = 'RBD'


class RBDAttachFaultsTest(AttachSweep, RBDFaults):
    pass


class RBDDetachFaultsTest(DetachSweep, RBDFaults):
    pass
