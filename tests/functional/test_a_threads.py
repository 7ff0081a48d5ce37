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

BEATS = 3
#: Of a second, between heartbeats and looks at them.
PAUSE_S = 0.02
PATIENCE_S = 20


class SlowFiles(fakes.FolderFiles):
    """Copies take until the heart has beaten, as of many GiB."""

    def copy(self, source, target):
        before, self.heard = len(self.beats), 0
        deadline = time.monotonic() + PATIENCE_S
        while self.heard < BEATS and time.monotonic() < deadline:
            oswin.native(time).sleep(PAUSE_S)
            self.heard = len(self.beats) - before
        super().copy(source, target)


class CopyTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.files = SlowFiles(folder.name)
        self.paths = paths.Paths(self.files, instances_path=r'C:\Instances')
        self.paths.make_dir(r'C:\Instances')
        with self.paths.open(r'C:\Instances\disk.vhdx', 'wb') as stream:
            stream.write(b'content')

    def test_heartbeats_go_on_while_a_disk_is_copied(self):
        """L169: with eventlet, too."""
        self.files.beats, stopped = [], threading.Event()

        def beat():
            while not stopped.wait(PAUSE_S):
                self.files.beats.append(None)
        heart = threading.Thread(target=beat)
        heart.start()
        self.paths.copy(r'C:\Instances\disk.vhdx', r'C:\Instances\two.vhdx')
        stopped.set()
        heart.join()
        self.assertGreaterEqual(self.files.heard, BEATS)
        self.assertEqual(b'content',
                         self.paths.read_bytes(r'C:\Instances\two.vhdx'))
