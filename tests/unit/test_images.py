# SPDX-License-Identifier: Apache-2.0
"""Images: what is left on the host when a fetch fails, and what is not."""

import logging
import os
import shutil
import stat
import subprocess
import threading
from unittest import mock

import ddt
from nova import exception

from compute_hyperv import errors
from compute_hyperv import images
from compute_hyperv import model
from compute_hyperv.sim import disks
from tests import malformed_disks
from tests.unit import hostcase

MIB = model.MIB
BASE = hostcase.INSTANCES_DIR + r'\_base'
STEM = BASE + r'\image'


class FakeGlance:
    """Nova's image functions over files.

    :ivar before_data: called when a download starts, with its path.
    """

    def __init__(self):
        self.images = {}
        self.paths = {}
        self.downloads = []
        self.before_data = lambda path: None

    def add(self, path, disk_format, image_id='image'):
        self.images[image_id] = {'id': image_id, 'disk_format': disk_format,
                                 'size': os.path.getsize(path)}
        self.paths[image_id] = path
        return image_id

    def get_info(self, context, image_id):
        if image_id not in self.images:
            raise exception.ImageNotFound(image_id=image_id)
        return self.images[image_id]

    def fetch(self, context, image_id, path, trusted_certs=None):
        self.downloads.append(image_id)
        self.before_data(path)
        shutil.copyfile(self.paths[image_id], path)


class Listener(logging.Handler):
    """Waits for a logger to say something at INFO or above."""

    def __init__(self, name, words, heard):
        super().__init__(logging.INFO)
        self._logger = logging.getLogger(name)
        self._level = self._logger.level
        self._words = words
        self._heard = heard
        self._logger.addHandler(self)
        self._logger.setLevel(logging.INFO)

    def emit(self, record):
        if self._words in record.getMessage():
            self._heard.set()

    def close(self):
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)
        super().close()


class ImagesCase(hostcase.HostTestCase):
    def setUp(self):
        super().setUp()
        self.glance = FakeGlance()
        patch = mock.patch.object(images, 'nova_images', self.glance)
        patch.start()
        self.addCleanup(patch.stop)
        self.paths.make_dir(BASE)
        self.maker = malformed_disks.Maker(self.local('images'))

    def local(self, name):
        folder = self.host.storage.local('C:\\') + f'/{name}'
        os.makedirs(folder, exist_ok=True)
        return folder

    def images(self, qemu_img='qemu-img', timeout_s=60):
        return images.Images(
            self.win, self.paths, qemu_img_cmd=qemu_img,
            convert_timeout_s=timeout_s, vmdk_types=('streamOptimized',))

    def program(self, text):
        """A shell script; its path."""
        path = os.path.join(self.local('bin'), 'program')
        with open(path, 'w') as script:
            script.write(f'#!/bin/sh\n{text}\n')
        os.chmod(path, stat.S_IRWXU)
        return path

    def qcow2(self):
        """A qcow2 image in Glance; its id."""
        path = os.path.join(self.local('images'), 'q.qcow2')
        subprocess.run(('qemu-img', 'create', '-q', '-f', 'qcow2', path,
                        '16M'), check=True)
        return self.glance.add(path, 'qcow2')


@ddt.ddt
class FetchTest(ImagesCase):
    @ddt.data(('ok.vhdx', model.DiskFormat.VHDX),
              ('ok.vhd', model.DiskFormat.VHD),
              ('okfixed.vhd', model.DiskFormat.VHD))
    @ddt.unpack
    def test_file_gets_the_extension_of_its_content(self, name, fmt):
        image_id = self.glance.add(self.maker.sound(name), fmt.value)

        image = self.images().fetch(None, image_id, STEM)

        self.assertEqual(model.CachedImage(
            path=f'{STEM}.{fmt.value}', format=fmt,
            virtual_size_bytes=16 * MIB), image)
        self.assertEqual([f'image.{fmt.value}'], self.paths.list_dir(BASE))

    def test_qcow2_becomes_vhdx(self):
        image = self.images().fetch(None, self.qcow2(), STEM)

        self.assertEqual((STEM + '.vhdx', 16 * MIB),
                         (image.path, image.virtual_size_bytes))
        self.assertEqual(['image.vhdx'], self.paths.list_dir(BASE))

    def test_raw_image_that_ends_within_a_sector_is_filled_up(self):
        path = os.path.join(self.local('images'), 'odd.raw')
        with open(path, 'wb') as file:
            file.write(b'x' * (MIB + 77))
        image_id = self.glance.add(path, 'raw')

        self.images().fetch(None, image_id, STEM)

        size = self.win.vhd.get_vhd_size(STEM + '.vhdx')['VirtualSize']
        self.assertEqual(MIB + 512, size)

    def test_file_is_under_its_final_name_only_when_complete(self):
        """L017."""
        image_id = self.glance.add(self.maker.sound('ok.vhdx'), 'vhdx')
        seen = []
        self.glance.before_data = lambda path: seen.append(
            os.path.basename(path))

        self.images().fetch(None, image_id, STEM)

        self.assertIn(images.PARTIAL_SUFFIX + '.', seen[0])

    def test_failed_download_leaves_nothing(self):
        image_id = self.glance.add(self.maker.sound('ok.vhdx'), 'vhdx')

        def break_off(path):
            with open(path, 'wb') as file:
                file.write(b'half')
            raise exception.GlanceConnectionFailed(server='s', reason='gone')
        self.glance.before_data = break_off

        self.assert_refuses(
            exception.GlanceConnectionFailed,
            call=lambda: self.images().fetch(None, image_id, STEM))
        self.assertEqual([], self.paths.list_dir(BASE))

    @ddt.data('ok.vhdx', 'ok.vhd')
    def test_image_over_the_limit_is_told_with_both_sizes(self, name):
        image_id = self.glance.add(self.maker.sound(name), name[3:])

        self.assert_refuses(
            exception.FlavorDiskSmallerThanImage, 16 * MIB, 15 * MIB,
            call=lambda: self.images().fetch(None, image_id, STEM,
                                             max_bytes=15 * MIB))
        self.assertEqual([], self.paths.list_dir(BASE))

    def test_progress_of_a_long_download_is_logged(self):
        """D8: the operator sees that something happens."""
        image_id = self.glance.add(self.maker.sound('ok.vhdx'), 'vhdx')
        logged = threading.Event()

        def wait(path):
            with open(path, 'wb') as file:
                file.write(b'half')
            self.assertTrue(logged.wait(60))
        self.glance.before_data = wait
        self.addCleanup(Listener('compute_hyperv.operation',
                                 'Image image: download, 4 of ',
                                 logged).close)
        with mock.patch.object(images, '_REPORT_S', 0.01):
            self.images().fetch(None, image_id, STEM)

        self.assertTrue(logged.is_set())

    def test_unsupported_format_is_refused_before_the_download(self):
        image_id = self.glance.add(self.maker.sound('ok.vhdx'), 'vdi')

        self.assert_refuses(
            exception.ImageUnacceptable, 'vdi', 'qcow2, raw, vhd, vhdx',
            call=lambda: self.images().fetch(None, image_id, STEM))
        self.assertEqual([], self.glance.downloads)


@ddt.ddt
class ConvertTest(ImagesCase):
    """qemu-img fails, hangs, or disagrees."""

    def _assert_leaves_nothing(self, error, *words, program, timeout_s=60):
        self.qcow2()
        self.assert_refuses(
            error, *words, call=lambda: self.images(
                self.program(program), timeout_s).fetch(None, 'image', STEM))
        self.assertEqual([], self.paths.list_dir(BASE))

    def test_failure_is_told_with_its_words(self):
        self._assert_leaves_nothing(
            errors.CommandFailed, 'no room on the moon',
            program='[ $1 = info ] && exec qemu-img "$@"\n'
                    'echo no room on the moon >&2; exit 1')

    def test_conversion_is_killed_at_its_deadline(self):
        self._assert_leaves_nothing(
            errors.CommandFailed, 'not done within', timeout_s=1,
            program='[ $1 = info ] && exec qemu-img "$@"\nexec sleep 60')

    @ddt.data(('{"virtual-size": 16777216, "backing-filename": "x"}',
               'another file'),
              ('{"virtual-size": 16777216, "format-specific": {"data": '
               '{"data-file": "x"}}}', 'another file'),
              ('{"virtual-size": 33554432}', '33554432'))
    @ddt.unpack
    def test_second_opinion_must_agree(self, output, word):
        self._assert_leaves_nothing(exception.ImageUnacceptable, word,
                                    program=f"echo '{output}'")

    def test_result_must_have_the_size_of_the_source(self):
        self._assert_leaves_nothing(
            exception.ImageUnacceptable, '1048576',
            program='[ $1 = info ] && exec qemu-img "$@"\n'
                    'for last; do :; done\n'
                    'exec qemu-img create -q -f vhdx "$last" 1M')

    def test_vmdk_type_must_be_allowed_by_the_operator(self):
        path = os.path.join(self.local('images'), 'd.vmdk')
        subprocess.run(('qemu-img', 'create', '-q', '-f', 'vmdk', path,
                        '16M'), check=True)
        image_id = self.glance.add(path, 'vmdk')
        self.assert_refuses(
            exception.ImageUnacceptable, 'monolithicSparse',
            'vmdk_allowed_types',
            call=lambda: self.images().fetch(None, image_id, STEM))

    def test_qemu_img_never_guesses_a_format(self):
        self.qcow2()
        log = os.path.join(self.local('bin'), 'log')
        self.images(self.program(f'echo "$@" >> {log}\nexec qemu-img "$@"')
                    ).fetch(None, 'image', STEM)
        with open(log) as file:
            info, convert = file.read().splitlines()
        self.assertIn('-f qcow2 ', info)
        self.assertIn('-f qcow2 -O vhdx ', convert)

    def test_windows_makes_the_file_that_qemu_img_fills(self):
        """A file that qemu-img made would be sparse: 0xC03A001A."""
        path = os.path.join(self.local('images'), 'd.raw')
        with open(path, 'wb') as file:
            file.write(b'x' * MIB + bytes(99 * MIB))
        self.images().fetch(None, self.glance.add(path, 'raw'), STEM)
        with disks.open_disk(self.paths.host_path(STEM + '.vhdx'),
                             writable=False, resolve=str) as disk:
            self.assertEqual(32 * MIB, disk.block_bytes)
            self.assertEqual(b'x' * MIB, disk.read(0, MIB))
            self.assertLess(disk.file_size_bytes, 40 * MIB)

    def test_converted_again_it_is_the_same_parent(self):
        """Of disks that move live to a host that converts it itself."""
        image_id = self.qcow2()
        found = []
        for stem in (STEM, STEM + '-again'):
            image = self.images().fetch(None, image_id, stem)
            with disks.open_disk(self.paths.host_path(image.path),
                                 writable=False, resolve=str) as disk:
                found.append(disk.data_write_guid)
        self.assertEqual(found[0], found[1])
