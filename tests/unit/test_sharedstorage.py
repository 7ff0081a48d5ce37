# SPDX-License-Identifier: Apache-2.0
"""Probes that tell whether two hosts see one directory."""

import ntpath

import ddt

from tests.unit import opscase


@ddt.ddt
class ProbeTest(opscase.OpsTestCase):
    """L166: one host leaves a file, another one looks for it."""

    def setUp(self):
        super().setUp()
        self.storage = self.ops.shared_storage
        self.directory = self.paths.instance_dir(self.instance.name)

    def names(self):
        return self.paths.list_dir(self.directory)

    def make_dir(self):
        self.paths.make_dir(self.directory)

    def test_seen_while_it_is_there(self):
        self.make_dir()
        probe = self.storage.leave_probe(self.instance)
        self.assertTrue(self.storage.sees_probe(probe))
        self.storage.remove_probe(probe)
        self.assertEqual([], self.names())
        self.assertFalse(self.storage.sees_probe(probe))
        self.storage.remove_probe(probe)        # a missing one is fine

    def test_probes_differ(self):
        self.make_dir()
        one, other = (self.storage.leave_probe(self.instance)
                      for _time in range(2))
        self.assertNotEqual(one, other)
        self.storage.remove_probe(one)
        self.assertTrue(self.storage.sees_probe(other))

    def test_instance_without_directory_leaves_none(self):
        self.assertIsNone(self.storage.leave_probe(self.instance))
        self.assertFalse(self.paths.exists(self.directory))

    def test_file_of_that_name_with_other_content_is_not_it(self):
        self.make_dir()
        probe = self.storage.leave_probe(self.instance)
        with self.paths.open(ntpath.join(self.directory, probe['name']),
                             'wb') as stream:
            stream.write(b'something else')
        self.assertFalse(self.storage.sees_probe(probe))

    def test_probe_that_cannot_be_written(self):
        """Nova takes the error for shared storage and keeps the disks."""
        self.make_dir()
        with self.fabric.faults.failing(kind='file', match='open *probe-*'):
            self.assertRaises(OSError, self.storage.leave_probe,
                              self.instance)
        self.assertEqual([], self.names())

    def test_look_that_fails_is_no_answer(self):
        """It must not pass for "not shared", for the disks would go."""
        self.make_dir()
        probe = self.storage.leave_probe(self.instance)
        with self.fabric.faults.failing(kind='file', match='open *probe-*'):
            self.assertRaises(OSError, self.storage.sees_probe, probe)

    @ddt.data((1, 0), (3, 1))
    @ddt.unpack
    def test_removal_that_fails_stops_nobody(self, times, left):
        """An error here would keep nova-compute from starting."""
        self.make_dir()
        probe = self.storage.leave_probe(self.instance)
        with self.fabric.faults.failing(kind='file', match='remove *probe-*',
                                        times=times):
            self.storage.remove_probe(probe)
        self.assertEqual(left, len(self.names()))

    @ddt.data(('root.vhdx', True), ('ROOT.VHD', True), ('root.iso', False),
              ('eph0.vhdx', False))
    @ddt.unpack
    def test_instance_on_disk(self, name, expected):
        """A system disk says so, whatever else is there."""
        self.make_dir()
        with self.paths.open(ntpath.join(self.directory, name), 'wb'):
            pass
        self.assertEqual(expected,
                         self.storage.instance_on_disk(self.instance))

    def test_directory_that_cannot_be_read_is_no_answer(self):
        """A fault that was found by the sweep: it passed for "no disk"."""
        self.make_dir()
        with self.fabric.faults.failing(kind='file', match='list*'):
            self.assertRaises(OSError, self.storage.instance_on_disk,
                              self.instance)
