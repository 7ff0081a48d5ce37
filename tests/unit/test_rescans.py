# SPDX-License-Identifier: Apache-2.0
"""Looking for disks: what os-win does, and the driver leaves to it."""

import threading

from compute_hyperv.connectors import base
from compute_hyperv.connectors import fibre_channel
from tests.unit import hostcase

from nova import exception  # noqa: I100

RESCAN = '*UpdateHostStorageCache'
OUT_OF_MEMORY = 0x8007000E


class RescanTest(hostcase.HostTestCase):

    def setUp(self):
        super().setUp()
        self.connector = fibre_channel.FibreChannelConnector(
            win=self.win, multipath=False,
            search=base.Search(attempts=0, interval_s=0))

    def look(self):
        """Look for a volume that is not there."""
        self.assertRaises(exception.DiskNotFound, self.connector.connect,
                          {'target_wwn': '2000000000000001', 'target_lun': 1})

    def rescans(self, look):
        with self.fabric.recorder.recording() as calls:
            look()
        return [call for call in calls
                if call.label.endswith('UpdateHostStorageCache')]

    def test_spurious_lack_of_memory_is_not_the_end(self):
        """L117: the storage API of Windows is asked once more."""
        with self.fabric.faults.failing(kind='method', match=RESCAN,
                                        hresult=OUT_OF_MEMORY, times=1):
            self.assertEqual(2, len(self.rescans(self.look)))

    def test_requests_at_one_time_share_a_rescan(self):
        """L117: one that goes on, and at most one more."""
        barrier = threading.Barrier(8)

        def look():
            barrier.wait()
            self.look()

        def all_look():
            threads = [threading.Thread(target=look) for _number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        with self.fabric.faults.failing(kind='method', match=RESCAN,
                                        delay_s=0.3, times=None):
            self.assertLess(len(self.rescans(all_look)), 4)
