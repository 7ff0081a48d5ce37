# SPDX-License-Identifier: Apache-2.0
"""A VHDX gets a chosen identity, and stays what it is."""

import io
import uuid

from compute_hyperv.sim import disks
from compute_hyperv.vhd import identity
from compute_hyperv.vhd import structures
from compute_hyperv.vhd import vhdxformat
from tests.unit.vhd import folder

ONE = uuid.UUID('11111111-2222-4333-8444-555555555555')


class IdentityTest(folder.FolderTestCase):

    def setUp(self):
        super().setUp()
        self.path = self.create('disk.vhdx', size_bytes=8 << 20)
        self.write('disk.vhdx', 4096, b'content')

    def stamp(self, value=ONE):
        with open(self.path, 'r+b') as stream:
            identity.stamp(stream, value)

    def headers(self):
        with open(self.path, 'rb') as stream:
            raw = stream.read(192 << 10)
        return [vhdxformat.Header.parse(raw[at:at + vhdxformat.HEADER_BYTES])
                for at in vhdxformat.HEADER_OFFSETS]

    def test_both_headers_are_sound_and_agree(self):
        self.stamp()
        found = self.headers()
        self.assertEqual([ONE.bytes_le] * 2,
                         [header.data_write_guid for header in found])
        self.assertEqual(1, abs(found[0].sequence - found[1].sequence))

    def test_content_stays(self):
        before = self.content('disk.vhdx')
        self.stamp()
        self.assertEqual(before, self.content('disk.vhdx'))

    def test_same_identity_is_the_same_parent(self):
        self.stamp()
        self.child('child.vhdx', 'disk.vhdx')
        self.write('disk.vhdx', 4096, b'CONTENT')
        self.assertRaises(disks.DiskError, self.content, 'child.vhdx')
        self.stamp()
        self.assertEqual(b'CONTENT',
                         self.content('child.vhdx')[4096:4096 + 7])

    def test_torn_header_is_made_good(self):
        with open(self.path, 'r+b') as stream:
            stream.seek(vhdxformat.HEADER_OFFSETS[0] + 8)
            stream.write(b'torn')
        self.stamp()
        self.assertEqual([ONE.bytes_le] * 2, [
            header.data_write_guid for header in self.headers()])

    def test_what_is_no_closed_disk_is_refused(self):
        open_log = self.headers()[0]
        raw = bytearray(vhdxformat.HEADER_OFFSETS[0])
        raw += vhdxformat.Header(
            sequence=1, file_write_guid=bytes(16), data_write_guid=bytes(16),
            log_guid=ONE.bytes_le, log_bytes=open_log.log_bytes,
            log_offset=open_log.log_offset).pack()
        for content in (b'', bytes(1 << 20), bytes(raw)):
            stream = io.BytesIO(content)
            with self.assertRaises(structures.Malformed):
                identity.stamp(stream, ONE)
            self.assertEqual(content, stream.getvalue())
