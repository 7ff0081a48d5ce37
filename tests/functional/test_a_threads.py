# SPDX-License-Identifier: Apache-2.0
"""Feature letter A, row 3: long work lets the rest of the service run."""

import tempfile
import threading
import time
import unittest

import nova.tests.functional  # noqa: F401  (first: it says how Nova runs)

from compute_hyperv import oswin
from compute_hyperv import paths
from tests.unit import fakes

COPY_S = 0.5


class SlowFiles(fakes.FolderFiles):
    """Copies take their time, as of many GiB; nothing else can."""

    def copy(self, source, target):
        oswin.native(time).sleep(COPY_S)
        super().copy(source, target)


class CopyTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.paths = paths.Paths(SlowFiles(folder.name),
                                 instances_path=r'C:\Instances')
        self.paths.make_dir(r'C:\Instances')
        with self.paths.open(r'C:\Instances\disk.vhdx', 'wb') as stream:
            stream.write(b'content')

    def test_heartbeats_go_on_while_a_disk_is_copied(self):
        """L169: with eventlet, too."""
        beats, stopped = [], threading.Event()

        def beat():
            while not stopped.wait(COPY_S / 20):
                beats.append(time.monotonic())
        heart = threading.Thread(target=beat)
        heart.start()
        self.paths.copy(r'C:\Instances\disk.vhdx', r'C:\Instances\two.vhdx')
        stopped.set()
        heart.join()
        self.assertGreater(len(beats), 3)
        self.assertEqual(b'content',
                         self.paths.read_bytes(r'C:\Instances\two.vhdx'))
