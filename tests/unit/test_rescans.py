# SPDX-License-Identifier: Apache-2.0
"""Looking for disks: what os-win does, and the driver leaves to it."""

import queue
import threading
from unittest import mock

from compute_hyperv.connectors import base
from compute_hyperv.connectors import fibre_channel
from tests.unit import hostcase

from nova import exception  # noqa: I100

RESCAN = '*UpdateHostStorageCache'
OUT_OF_MEMORY = 0x8007000E


class Lock:
    """os-win's lock of a rescan; tells of each who asks whether it is held."""

    def __init__(self):
        self.asked = queue.SimpleQueue()
        self._lock = threading.Lock()

    def locked(self):
        self.asked.put(None)
        return self._lock.locked()

    def __enter__(self):
        self._lock.acquire()

    def __exit__(self, *exc_info):
        self._lock.release()


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
        """L117: the one that goes on is enough for all."""
        lock = Lock()
        threads = [threading.Thread(target=self.look) for _ in range(8)]

        def all_look():
            with lock:
                for thread in threads:
                    thread.start()
                for _thread in threads:
                    lock.asked.get(timeout=60)
            for thread in threads:
                thread.join()

        module = type(self.win.disk).rescan_disks.__globals__
        with mock.patch.dict(module, _RESCAN_LOCK=lock):
            self.assertEqual([], self.rescans(all_look))
