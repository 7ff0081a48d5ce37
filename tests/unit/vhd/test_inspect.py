# SPDX-License-Identifier: Apache-2.0
"""The inspector against malformed files, and against qemu-img's."""

import io
import os
import shutil
import struct
import subprocess
import tempfile

import ddt

from compute_hyperv.vhd import inspect
from tests import base
from tests import malformed_disks
from tests.malformed_disks import GIB
from tests.malformed_disks import LIMIT_BYTES
from tests.malformed_disks import MIB
from tests.malformed_disks import SIZE_BYTES
from tests import sound_disks

_KINDS = {'okfixed': 'fixed', 'ok': 'dynamic'}


def _refusal(path, fmt=None, max_bytes=LIMIT_BYTES):
    """The rule that a file breaks, None if it is accepted."""
    with open(path, 'rb') as file:
        return _rule(file, fmt, max_bytes)


def _rule(file, fmt=None, max_bytes=None):
    try:
        inspect.inspect(file, fmt, max_bytes)
    except inspect.Malformed as exc:
        return exc.rule
    return None


class _Folder(base.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dir = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.maker = malformed_disks.Maker(cls.dir)

    def path(self, name):
        return os.path.join(self.dir, name)


@ddt.ddt
class MalformedTest(_Folder):
    def test_there_are_62_cases(self):
        names = {case.name for case in malformed_disks.CASES}
        self.assertEqual(62, len(names))
        self.assertEqual(62, len(malformed_disks.CASES))

    @ddt.data(*(case.name for case in malformed_disks.CASES))
    def test_is_refused_for_its_reason(self, name):
        case = next(one for one in malformed_disks.CASES if one.name == name)
        path = self.maker.make(case)
        self.addCleanup(os.remove, path)
        self.assertIn(_refusal(path, case.fmt), case.rules)

    @ddt.data(*(case.name for case in malformed_disks.CASES
                if case.name != 'v-grown-16MiB-to-1TiB.vhd'))
    def test_is_refused_without_a_size_limit_too(self, name):
        case = next(one for one in malformed_disks.CASES if one.name == name)
        path = self.maker.make(case)
        self.addCleanup(os.remove, path)
        self.assertIn(_refusal(path, None, None), case.rules)

    @ddt.data(*sound_disks.CHILDREN)
    def test_differencing_disk_is_refused(self, name):
        self.assertEqual('parent', _refusal(self.maker.sound(name)))

    @ddt.data(*sound_disks.SOUND)
    def test_sound_file_is_accepted(self, name):
        fmt = name.rpartition('.')[2]
        with open(self.maker.sound(name), 'rb') as file:
            info = inspect.inspect(file, fmt, SIZE_BYTES)
        self.assertEqual(
            (fmt, _KINDS[name.partition('.')[0]], SIZE_BYTES),
            (info.fmt, info.kind, info.virtual_size_bytes))

    @ddt.data(*sound_disks.SOUND)
    def test_size_over_the_limit_is_told(self, name):
        with open(self.maker.sound(name), 'rb') as file:
            exc = self.assert_refuses(
                inspect.TooLarge, SIZE_BYTES,
                call=lambda: inspect.inspect(file, max_bytes=SIZE_BYTES - 1))
        self.assertEqual(SIZE_BYTES, exc.size_bytes)

    @ddt.data(('ok.vhdx', 'vhd'), ('ok.vhd', 'vhdx'), ('ok.vhd', 'raw'),
              ('ok.vhdx', 'qcow2'), ('okfixed.vhd', 'raw'))
    @ddt.unpack
    def test_content_must_be_of_the_declared_format(self, name, declared):
        self.assertEqual('format', _refusal(self.maker.sound(name), declared))

    def test_empty_file_is_refused(self):
        self.assertEqual('truncated', _rule(io.BytesIO()))


class BoundedMemoryTest(_Folder):
    def test_huge_table_of_a_sparse_file_is_read_in_pieces(self):
        """A 60 TiB VHDX has 480 MiB of BAT: never held as a whole."""
        import tracemalloc
        path = self.path('huge.vhdx')
        self.maker._create('huge.vhdx', 'vhdx', 'dynamic',
                           size_bytes=60 << 40, block_bytes=MIB)
        self.addCleanup(os.remove, path)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.assertIsNone(_refusal(path, 'vhdx', None))
        self.assertLess(tracemalloc.get_traced_memory()[1], 8 * MIB)


@ddt.ddt
class QemuImgFilesTest(_Folder):
    """What qemu-img makes is accepted, with the size that it sees."""

    def setUp(self):
        super().setUp()
        if not shutil.which('qemu-img'):
            self.skipTest('needs qemu-img')

    def _make(self, name, *args):
        path = self.path(name)
        subprocess.run(('qemu-img', *args), check=True, capture_output=True,
                       cwd=self.dir)
        self.addCleanup(os.remove, path)
        return path

    @ddt.data(('vhdx', 'subformat=dynamic', GIB),
              ('vhdx', 'subformat=dynamic', 300 * GIB),
              ('vhdx', 'subformat=dynamic,block_size=33554432', 10 * GIB),
              ('vhdx', 'subformat=fixed,block_size=1048576', 20 * MIB),
              ('vhdx', 'log_size=2097152,block_state_zero=off', 20 * MIB),
              ('vpc', 'subformat=dynamic', GIB),
              ('vpc', 'subformat=dynamic', 200 * GIB),
              ('vpc', 'subformat=dynamic,force_size=on', 10 * GIB),
              ('vpc', 'subformat=fixed,force_size=on', 20 * MIB),
              ('vpc', 'subformat=fixed', 20 * MIB),
              ('qcow2', 'compat=1.1', 10 * GIB),
              ('qcow2', 'compat=0.10', 10 * GIB),
              ('qcow2', 'cluster_size=2097152,extended_l2=on', GIB),
              ('vmdk', 'subformat=monolithicSparse', GIB))
    @ddt.unpack
    def test_created_image_is_accepted(self, driver, options, size_bytes):
        fmt = {'vpc': 'vhd'}.get(driver, driver)
        path = self._make(f'q.{fmt}', 'create', '-f', driver, '-o', options,
                          f'q.{fmt}', str(size_bytes))
        self._assert_seen_alike(path, driver, fmt)

    @ddt.data(('vhdx', 'subformat=dynamic'), ('vhdx', 'subformat=fixed'),
              ('vpc', 'subformat=dynamic,force_size=on'),
              ('vpc', 'subformat=fixed,force_size=on'),
              ('qcow2', 'compression_type=zlib'),
              ('vmdk', 'subformat=streamOptimized'))
    @ddt.unpack
    def test_converted_image_is_accepted(self, driver, options):
        with open(self.path('data.raw'), 'wb') as file:
            for offset in (0, 7 * MIB, 12 * MIB, 19 * MIB):
                file.seek(offset)
                file.write(os.urandom(MIB))
        fmt = {'vpc': 'vhd'}.get(driver, driver)
        path = self._make(f'c.{fmt}', 'convert', '-f', 'raw', '-O', driver,
                          '-o', options, 'data.raw', f'c.{fmt}')
        self._assert_seen_alike(path, driver, fmt)

    def _assert_seen_alike(self, path, driver, fmt):
        with open(path, 'rb') as file:
            info = inspect.inspect(file, fmt)
        seen = subprocess.run(
            ('qemu-img', 'info', '--output=json', '-f', driver, path),
            check=True, capture_output=True, text=True).stdout
        self.assertIn(f'"virtual-size": {info.virtual_size_bytes},', seen)

    @ddt.data(('vmdk', 'subformat=monolithicFlat', 'format'),
              ('vmdk', 'subformat=twoGbMaxExtentSparse', 'format'),
              ('qcow2', 'data_file=outside.raw', 'data-file'),
              ('qcow2', 'backing_file=/etc/passwd,backing_fmt=raw',
               'parent'),
              ('qed', 'cluster_size=65536', 'format'),
              ('vdi', 'static=off', 'format'))
    @ddt.unpack
    def test_image_that_needs_another_file_is_refused(self, driver, options,
                                                      rule):
        name = f'bad.{driver}'
        # -u: the backing file is not looked at.
        path = self._make(name, 'create', '-u', '-f', driver, '-o', options,
                          name, '1G')
        self.assertEqual(rule, _refusal(path))

    @ddt.data((32, '>I', 1, 'encrypted'),        # crypt_method: AES
              (72, '>Q', 1, 'damaged'),           # incompatible: dirty
              (72, '>Q', 2, 'damaged'),           # corrupt
              (72, '>Q', 4, 'data-file'),
              (72, '>Q', 1 << 40, 'version'),     # a feature of the future
              (112, '>I', 0x0537BE77, 'encrypted'),   # LUKS extension
              (20, '>I', 40, 'block-size'),       # cluster_bits
              (24, '>Q', 65 << 40, 'size'),
              (40, '>Q', 1 << 50, 'truncated'))   # where the L1 table is
    @ddt.unpack
    def test_qcow2_header_that_lies_is_refused(self, at, fmt, value, rule):
        path = self._make('bad.qcow2', 'create', '-f', 'qcow2', '-o',
                          'compat=1.1', 'bad.qcow2', '1G')
        with open(path, 'r+b') as file:
            malformed_disks.poke(at, fmt, value)(file)
        self.assertEqual(rule, _refusal(path, 'qcow2', None))


_DESCRIPTOR = '''# Disk DescriptorFile
version=1
CID=fffffffe
parentCID={parent_cid}
createType="{kind}"

RW {sectors} {extent}
'''


def _vmdk(kind='monolithicSparse', parent_cid='ffffffff', sectors=2048,
          extent='SPARSE "x.vmdk"', capacity=2048, more=''):
    text = _DESCRIPTOR.format(kind=kind, parent_cid=parent_cid,
                              sectors=sectors, extent=extent) + more
    head = struct.pack('<4sIIQQQQIQQQB4s', b'KDMV', 1, 3, capacity, 128, 1,
                       20, 512, 21, 26, 128, 0, b'\n \r\n').ljust(512, b'\0')
    return io.BytesIO(head + text.encode().ljust(20 * 512, b'\0')
                      + bytes(64 << 10))


@ddt.ddt
class VmdkTest(base.TestCase):
    def test_sparse_vmdk_is_accepted(self):
        info = inspect.inspect(_vmdk(), 'vmdk')
        self.assertEqual(MIB, info.virtual_size_bytes)

    @ddt.data(({'kind': 'monolithicFlat'}, 'vmdk-type'),
              ({'kind': 'vmfs'}, 'vmdk-type'),
              ({'parent_cid': '12345678'}, 'parent'),
              ({'more': 'parentFileNameHint="/etc/passwd"\n'}, 'parent'),
              ({'more': 'createType="custom"\n'}, 'vmdk-descriptor'),
              ({'extent': 'FLAT "/etc/passwd" 0'}, 'vmdk-descriptor'),
              ({'more': 'RW 2048 SPARSE "/etc/passwd"\n'},
               'vmdk-descriptor'),
              ({'sectors': 4096}, 'vmdk-descriptor'))
    @ddt.unpack
    def test_descriptor_that_names_other_files_is_refused(self, fields, rule):
        self.assertEqual(rule, _rule(_vmdk(**fields), 'vmdk'))

    def test_descriptor_file_is_refused(self):
        text = _DESCRIPTOR.format(kind='monolithicFlat', sectors=2048,
                                  parent_cid='ffffffff',
                                  extent='FLAT "/etc/passwd" 0')
        self.assertEqual('format', _rule(io.BytesIO(text.encode()), 'vmdk'))


class RawAndIsoTest(base.TestCase):
    def test_raw_image_is_as_large_as_its_file(self):
        info = inspect.inspect(io.BytesIO(b'\xeb\x63' + bytes(5 * MIB - 2)),
                               'raw')
        self.assertEqual(5 * MIB, info.virtual_size_bytes)

    def test_iso_is_known_by_its_volume_descriptor(self):
        info = inspect.inspect(_iso(b''), 'iso')
        self.assertEqual('iso', info.fmt)

    def test_iso_that_is_also_qcow2_is_refused(self):
        self.assertEqual('second-format', _rule(_iso(b'QFI\xfb'), 'iso'))

    def test_luks_volume_is_no_raw_image(self):
        volume = io.BytesIO(b'LUKS\xba\xbe'.ljust(MIB, b'\0'))
        self.assertEqual('format', _rule(volume, 'raw'))

    def test_iso_is_no_raw_image(self):
        self.assertEqual('format', _rule(_iso(b''), 'raw'))


def _iso(head):
    return io.BytesIO(head.ljust(0x8001, b'\0') + b'CD001'.ljust(MIB, b'\0'))
