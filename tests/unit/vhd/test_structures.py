# SPDX-License-Identifier: Apache-2.0
"""Structures of the two formats, by the numbers of their specifications."""

import random

import ddt

from compute_hyperv.vhd import structures
from compute_hyperv.vhd import vhdformat
from compute_hyperv.vhd import vhdxformat
from tests import base

_CRC_FUNCTIONS = {'table': structures.crc32c_table,
                  'chosen': structures.crc32c}


@ddt.ddt
class ChecksumTest(base.TestCase):
    # RFC 3720, B.4.
    @ddt.data(*((name, data, crc) for name in _CRC_FUNCTIONS
                for data, crc in ((bytes(32), 0x8A9136AA),
                                  (b'\xff' * 32, 0x62A8AB43),
                                  (bytes(range(32)), 0x46DD794E),
                                  (b'123456789', 0xE3069283), (b'', 0))))
    @ddt.unpack
    def test_crc32c(self, function, data, crc):
        self.assertEqual(crc, _CRC_FUNCTIONS[function](data))

    def test_both_crc_functions_agree(self):
        data = random.Random(1).randbytes(5000)
        self.assertEqual(structures.crc32c_table(data),
                         structures.crc32c(data))

    def test_sealed_block_is_seen_as_sealed_and_a_changed_one_not(self):
        for seal, check, at in (
                (structures.sealed_crc, structures.is_sealed_crc, 4),
                (structures.sealed_sum, structures.is_sealed_sum, 64)):
            block = seal(bytes(range(256)) * 2, at)
            self.assertTrue(check(block, at))
            self.assertFalse(check(block[:200] + b'!' + block[201:], at))


@ddt.ddt
class VhdTest(base.TestCase):
    # Sectors -> cylinders, heads, sectors per track: what the appendix of
    # the specification computes.
    @ddt.data((3 << 11, (90, 4, 17)), (100 << 11, (1003, 12, 17)),
              (1 << 21, (2080, 16, 63)), (127 << 21, (65278, 16, 255)),
              (2040 << 21, (65535, 16, 255)))
    @ddt.unpack
    def test_geometry(self, sectors, expected):
        self.assertEqual(expected, vhdformat.geometry(sectors))

    @ddt.data(3 << 11, 12345, 10 << 21, 100 << 21)
    def test_geometry_never_exceeds_the_disk(self, sectors):
        cylinders, heads, per_track = vhdformat.geometry(sectors)
        covered = cylinders * heads * per_track
        self.assertLessEqual(covered, sectors)
        self.assertGreater(covered, sectors - heads * per_track * 2)

    @ddt.data((512, 512), (2 << 20, 512), (4 << 20, 1024), (256 << 20, 65536))
    @ddt.unpack
    def test_bitmap_fills_whole_sectors(self, block_bytes, expected):
        self.assertEqual(expected, vhdformat.bitmap_bytes(block_bytes))

    def test_footer_survives_packing(self):
        footer = vhdformat.Footer(
            kind=vhdformat.DYNAMIC, size_bytes=10 << 30,
            original_size_bytes=8 << 30, unique_id=bytes(range(16)),
            timestamp_s=123, chs=(1, 2, 3), saved_state=1, data_offset=512)
        raw = footer.pack()
        self.assertEqual(512, len(raw))
        self.assertEqual(footer, vhdformat.Footer.parse(raw))

    def test_dynamic_header_survives_packing(self):
        header = vhdformat.DynamicHeader(
            table_offset=1536, entries=77, block_bytes=1 << 21,
            parent_id=bytes(range(16)), parent_timestamp_s=9,
            parent_name='C:\\b\u00e4se.vhd', locators=(vhdformat.Locator(
                code=vhdformat.LOCATOR_RELATIVE, space_bytes=512,
                length_bytes=20, offset=4096),))
        raw = header.pack()
        self.assertEqual(1024, len(raw))
        self.assertEqual(header, vhdformat.DynamicHeader.parse(raw))
        self.assertTrue(vhdformat.has_parent_fields(raw))

    @ddt.data((0, 'footer-missing'), (100, 'footer-checksum'))
    @ddt.unpack
    def test_damaged_footer_is_refused(self, at, rule):
        raw = bytearray(vhdformat.Footer(
            kind=2, size_bytes=512, original_size_bytes=512,
            unique_id=bytes(16), timestamp_s=0).pack())
        raw[at] ^= 1
        exc = self.assert_refuses(
            structures.Malformed, rule,
            call=lambda: vhdformat.Footer.parse(bytes(raw)))
        self.assertEqual(rule, exc.rule)


@ddt.ddt
class VhdxTest(base.TestCase):
    # MS-VHDX 2.5: chunk ratio = 2^23 * sector / block.
    @ddt.data((32 << 20, 512, 128), (1 << 20, 512, 4096),
              (256 << 20, 512, 16), (32 << 20, 4096, 1024))
    @ddt.unpack
    def test_chunk_ratio(self, block_bytes, sector_bytes, expected):
        self.assertEqual(expected,
                         vhdxformat.chunk_ratio(block_bytes, sector_bytes))

    @ddt.data((1, 4, False, 1), (4, 4, False, 4), (5, 4, False, 6),
              (1, 4, True, 5), (4, 4, True, 5), (5, 4, True, 10))
    @ddt.unpack
    def test_a_childs_table_has_all_bitmap_slots(self, blocks, ratio, child,
                                                 expected):
        self.assertEqual(expected, vhdxformat.table_entries(
            blocks, ratio, child=child))

    def test_header_survives_packing(self):
        header = vhdxformat.Header(
            sequence=7, file_write_guid=b'f' * 16, data_write_guid=b'd' * 16,
            log_guid=b'l' * 16, log_bytes=1 << 20, log_offset=1 << 20)
        self.assertEqual(header, vhdxformat.Header.parse(header.pack()))

    def test_header_with_wrong_checksum_is_none(self):
        self.assertIsNone(vhdxformat.Header.parse(b'head' + bytes(4092)))

    def test_regions_survive_packing(self):
        regions = (vhdxformat.Region(guid=vhdxformat.REGION_BAT,
                                     offset=3 << 20, length_bytes=1 << 20),
                   vhdxformat.Region(guid=b'x' * 16, offset=9 << 20,
                                     length_bytes=1 << 20, required=0))
        raw = vhdxformat.pack_regions(regions)
        self.assertTrue(vhdxformat.is_region_table(raw))
        self.assertEqual(regions, vhdxformat.parse_regions(raw))

    def test_locator_survives_packing(self):
        pairs = {'parent_linkage': '{1}', 'relative_path': '..\\\u00e4.vhdx'}
        self.assertEqual(pairs, vhdxformat.parse_locator(
            vhdxformat.pack_locator(pairs)))

    def test_locator_that_points_outside_is_refused(self):
        raw = bytearray(vhdxformat.pack_locator({'key': 'value'}))
        raw[20:24] = b'\xff\xff\0\0'
        self.assert_refuses(
            structures.Malformed, 'cut short',
            call=lambda: vhdxformat.parse_locator(bytes(raw)))


_GUID = b'g' * 16


def _pages(count, seed):
    generator = random.Random(seed)
    return [(page * 4096, generator.randbytes(4096))
            for page in range(count)]


class LogTest(base.TestCase):
    """Rules for replay: MS-VHDX 2.3.3."""

    def _entry(self, sequence, tail, pages=2, guid=_GUID):
        return vhdxformat.pack_log_entry(
            _pages(pages, sequence), sequence=sequence, guid=guid, tail=tail,
            file_end=1 << 20)

    def test_entry_gives_its_pages_back(self):
        log = self._entry(1, 0, pages=130).ljust(1 << 20, b'\0')
        entry, = vhdxformat.active_log(log, _GUID)
        self.assertEqual(tuple(_pages(130, 1)), entry.pages)

    def test_sequence_is_replayed_from_its_tail(self):
        log = b''.join(self._entry(n, 0) for n in (5, 6, 7))
        found = vhdxformat.active_log(log.ljust(1 << 20, b'\0'), _GUID)
        self.assertEqual([5, 6, 7], [entry.sequence for entry in found])

    def test_sequence_may_wrap_around_the_end(self):
        first, second = self._entry(5, 53248), self._entry(6, 53248)
        log = bytearray(65536)
        log[53248:] = first
        log[:len(second)] = second
        whole = bytes(log)
        found = vhdxformat.active_log(whole, _GUID)
        self.assertEqual([5, 6], [entry.sequence for entry in found])

    def test_entry_may_itself_wrap_around(self):
        entry = self._entry(5, 57344)
        log = bytearray(65536)
        log[57344:] = entry[:8192]
        log[:len(entry) - 8192] = entry[8192:]
        found, = vhdxformat.active_log(bytes(log), _GUID)
        self.assertEqual(tuple(_pages(2, 5)), found.pages)

    def test_torn_entry_ends_the_sequence(self):
        whole, torn = self._entry(5, 0), bytearray(self._entry(6, 0))
        torn[-1] ^= 1
        log = (whole + torn).ljust(65536, b'\0')
        self.assertEqual([5], [entry.sequence for entry
                               in vhdxformat.active_log(log, _GUID)])

    def test_entries_of_another_log_do_not_count(self):
        log = self._entry(5, 0, guid=b'o' * 16).ljust(65536, b'\0')
        self.assertEqual([], vhdxformat.active_log(log, _GUID))

    def test_newest_sequence_wins(self):
        old, new = self._entry(5, 0), self._entry(9, len(self._entry(5, 0)))
        found = vhdxformat.active_log((old + new).ljust(65536, b'\0'), _GUID)
        self.assertEqual([9], [entry.sequence for entry in found])
