# SPDX-License-Identifier: Apache-2.0
from compute_hyperv import hostnotes
from tests.unit import hostcase


class WriteWholeTest(hostcase.HostTestCase):

    def setUp(self):
        super().setUp()
        self.path = hostcase.INSTANCES_DIR + r'\note.json'

    def write(self, content, **how):
        hostnotes.write_whole(self.paths, self.path, content, **how)

    def check(self, content):
        """The file is as it should be, and alone."""
        self.assertEqual(content, self.paths.read_bytes(self.path))
        self.assertEqual(['note.json'],
                         self.paths.list_dir(hostcase.INSTANCES_DIR))

    def test_earlier_one_is_replaced(self):
        self.write(b'one')
        self.write(b'two')
        self.check(b'two')

    def test_earlier_one_is_kept_where_there_must_be_none(self):
        self.write(b'one', is_new=True)
        self.assertRaises(OSError, self.write, b'two', is_new=True)
        self.check(b'one')

    def test_earlier_one_survives_a_fault(self):
        self.write(b'one')
        for match in ('*open*', '*rename*'):
            with self.fabric.faults.failing(kind='file', match=match,
                                            times=None):
                self.assertRaises(OSError, self.write, b'two')
            self.check(b'one')
