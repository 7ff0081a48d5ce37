# SPDX-License-Identifier: Apache-2.0
"""The image cache: one download, grown copies, ageing."""

import errno
import os
import threading
from unittest import mock
import uuid

import ddt
from nova import exception

from compute_hyperv import diskops
from compute_hyperv import errors
from compute_hyperv import imagecache
from compute_hyperv import locks
from compute_hyperv import model
from tests import factories
from tests.unit import hostcase
from tests.unit import test_images

GIB, MIB = model.GIB, model.MIB
BASE = hostcase.INSTANCES_DIR + r'\_base'
HOUR = 3600.0
AGES = imagecache.Ages(original_s=24 * HOUR, resized_s=HOUR)


class CacheCase(test_images.ImagesCase):
    def setUp(self):
        super().setUp()
        self.image_id = str(uuid.uuid4())
        self.now = self.paths.mtime(BASE)
        self.cache = self.new_cache()

    def new_cache(self, **changes):
        """A cache with locks of its own: as on another host."""
        host_locks = locks.Locks(
            locks.ProcessBackend(),
            locks.FileBackend(self.paths.try_lock, interval_s=0.02), 30)
        arguments = {
            'paths': self.paths, 'locks': host_locks, 'use_cow': True,
            'disks': diskops.DiskOps(self.win, self.paths),
            'images': self.images(), 'ages': AGES, 'now': lambda: self.now,
            **changes}
        return imagecache.ImageCache(**arguments)

    def add(self, fmt='vhdx'):
        return self.glance.add(self.maker.sound(f'ok.{fmt}'), fmt,
                               self.image_id)

    def get(self, root_gib=1, cache=None):
        instance = factories.instance(image_ref=self.image_id)
        meta = factories.image_meta(image_id=self.image_id)
        return (cache or self.cache).get(None, instance, meta,
                                         root_size_bytes=root_gib * GIB)

    def names(self):
        return sorted(self.paths.list_dir(BASE))

    def name(self, suffix):
        return f'{self.image_id}{suffix}'


class OtherCacheTest(CacheCase):
    """The cache of another host, seen over a share."""

    SHARES = {r'\\other\c$': 1}
    OTHER = r'\\other\c$\_base'

    def setUp(self):
        super().setUp()
        self.paths.make_dir(self.OTHER)
        for name in (self.name('.vhd'), self.name('_2.vhd'), 'note.txt',
                     f'{uuid.uuid4()}.vhdx'):
            self.put(name)

    def put(self, name, content=b'theirs'):
        with self.paths.open(f'{self.OTHER}\\{name}', 'wb') as stream:
            stream.write(content)

    def test_files_of_the_image_are_copied(self):
        self.assertTrue(self.cache.take_over(self.image_id, self.OTHER))
        self.assertEqual([self.name('.vhd'), self.name('_2.vhd')],
                         self.names())

    def test_what_is_here_stays(self):
        own = f'{BASE}\\{self.name("_2.vhd")}'
        with self.paths.open(own, 'wb') as stream:
            stream.write(b'ours')
        self.cache.take_over(self.image_id, self.OTHER)
        self.assertEqual(b'ours', self.paths.read_bytes(own))

    def test_image_that_the_other_lacks(self):
        self.assertTrue(self.cache.take_over(str(uuid.uuid4()), self.OTHER))
        self.assertEqual([], self.names())

    def test_cache_that_cannot_be_read(self):
        self.assertFalse(self.cache.take_over(self.image_id,
                                              r'\\gone\c$\_base'))

    def test_broken_copy_leaves_nothing(self):
        with self.fabric.faults.failing(kind='file', match='CopyFileW*'):
            self.assertRaises(OSError, self.cache.take_over, self.image_id,
                              self.OTHER)
        self.assertEqual([], self.names())

    def missing_bytes(self, directory=r'\\gone\c$\_base'):
        return self.cache.missing_bytes(None, self.image_id, directory)

    def test_what_is_to_come_is_known_before(self):
        """L081: of the other cache, from Glance, or nothing any more."""
        self.assertEqual(12, self.missing_bytes(self.OTHER))
        self.assert_refuses(exception.ImageNotFound, 'neither cached here',
                            r'\\gone\c$\_base', call=self.missing_bytes)
        self.add()
        self.assertEqual(self.glance.images[self.image_id]['size'],
                         self.missing_bytes())
        self.get()
        del self.glance.images[self.image_id]
        self.assertEqual(0, self.missing_bytes())
        self.cache.take_over(self.image_id, self.OTHER)
        self.assertEqual(0, self.missing_bytes(self.OTHER))


class GetTest(CacheCase):
    def test_second_instance_downloads_nothing(self):
        self.add()
        self.assertEqual(self.get(), self.get())
        self.assertEqual([self.image_id], self.glance.downloads)

    def test_hosts_that_share_the_cache_fetch_once(self):
        """L016: the lock lies with the cache, not in the process."""
        self.add()
        caches = [self.new_cache() for _ in range(5)]
        together = threading.Barrier(5)
        found = []

        def run(cache):
            together.wait()
            found.append(self.get(cache=cache))
        threads = [threading.Thread(target=run, args=(cache,))
                   for cache in caches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        self.assertEqual([self.image_id], self.glance.downloads)
        self.assertEqual(5, len(found))
        self.assertEqual(1, len(set(found)))

    def test_waiting_for_another_hosts_download_ends(self):
        self.add()
        release = self.paths.try_lock(f'image-{self.image_id}')
        self.addCleanup(release)
        impatient = locks.Locks(
            locks.ProcessBackend(),
            locks.FileBackend(self.paths.try_lock, interval_s=0.01), 0.05)
        cache = self.new_cache(locks=impatient)
        self.assert_refuses(errors.WaitTimeout, self.image_id,
                            call=lambda: self.get(cache=cache))

    def test_rescue_image_is_not_the_instances_own(self):
        """The image that is asked for counts, not image_ref."""
        self.add()
        meta = factories.image_meta(image_id=self.image_id)
        found = self.cache.get(None, factories.instance(), meta)
        self.assertEqual(self.name('.vhdx'),
                         found.path.rpartition('\\')[2])

    def test_cached_image_larger_than_a_flavor_is_refused(self):
        """L019, and it stays for other flavors."""
        self.glance.add(self.maker.sound('ok.vhdx'), 'vhdx', self.image_id)
        self.get()
        instance = factories.instance(image_ref=self.image_id)
        meta = factories.image_meta(image_id=self.image_id)
        self.assert_refuses(
            exception.FlavorDiskSmallerThanImage, 8 * MIB,
            call=lambda: self.cache.get(None, instance, meta,
                                        root_size_bytes=8 * MIB))
        self.assertEqual([self.name('.vhdx')], self.names())

    def test_leftovers_of_a_killed_download_are_removed(self):
        self.add()
        for suffix in ('.0123.part.qcow2', '_1.vhd.part.vhd'):
            with self.paths.open(f'{BASE}\\{self.name(suffix)}', 'w') as file:
                file.write('half')
        self.get()
        self.assertEqual([self.name('.vhdx')], self.names())

    def test_image_of_the_older_driver_is_used(self):
        """G6: the names in the cache are those of earlier releases."""
        self.win.vhd.create_dynamic_vhd(f'{BASE}\\{self.name(".vhd")}',
                                        64 * MIB)
        found = self.get(root_gib=0)
        self.assertEqual((model.DiskFormat.VHD, 64 * MIB),
                         (found.format, found.virtual_size_bytes))
        self.assertEqual([], self.glance.downloads)

    def test_precaching_says_whether_it_fetched(self):
        self.add()
        self.assertTrue(self.cache.cache_image(None, self.image_id))
        self.assertFalse(self.cache.cache_image(None, self.image_id))
        self.assertEqual([self.image_id], self.glance.downloads)

    def test_disk_usage_is_that_of_the_files(self):
        self.assertEqual(0, self.cache.get_disk_usage())
        self.add()
        self.get()
        path = self.maker.sound('ok.vhdx')
        self.assertEqual(os.path.getsize(path), self.cache.get_disk_usage())


class GrownTest(CacheCase):
    """L018: a differencing VHD cannot grow, so its parent must."""

    def setUp(self):
        super().setUp()
        self.add('vhd')

    def test_each_flavor_size_has_one_copy(self):
        paths = {self.get(gib).path for gib in (1, 2, 2, 1)}
        self.assertEqual({f'{BASE}\\{self.name("_1.vhd")}',
                          f'{BASE}\\{self.name("_2.vhd")}'}, paths)
        self.assertEqual(3, len(self.names()))

    def test_copy_fits_into_the_flavor(self):
        found = self.get(2)
        self.assertTrue(2 * GIB - 64 * MIB < found.virtual_size_bytes
                        <= 2 * GIB, found)

    def test_vhdx_needs_no_copy(self):
        self.image_id = str(uuid.uuid4())
        self.add('vhdx')
        self.assertEqual(16 * MIB, self.get(2).virtual_size_bytes)

    def test_full_copies_need_no_copy(self):
        found = self.get(2, self.new_cache(use_cow=False))
        self.assertEqual(16 * MIB, found.virtual_size_bytes)
        self.assertEqual([self.name('.vhd')], self.names())

    def test_failed_growth_leaves_the_image_and_is_done_again(self):
        """L017."""
        with self.fabric.faults.failing(kind='dll',
                                        match='*ResizeVirtualDisk*',
                                        win32=112):
            self.assertRaises(errors.OS_WIN_ERRORS, self.get, 2)
        self.assertEqual([self.name('.vhd')], self.names())
        self.assertEqual(16 * MIB, self.get(0).virtual_size_bytes)
        self.assertGreater(self.get(2).virtual_size_bytes, GIB)


@ddt.ddt
class AgeingTest(CacheCase):
    def setUp(self):
        super().setUp()
        self.add('vhd')
        self.get(1)
        self.both = [self.name('.vhd'), self.name('_1.vhd')]

    def run_later(self, hours, *instances, cache=None):
        self.now += hours * HOUR
        (cache or self.cache).update(None, instances)
        return self.names()

    def instance(self):
        return factories.instance(image_ref=self.image_id)

    def child(self, vm_name='instance-0000abcd', parent='.vhd'):
        """An instance's disk on a cached image."""
        directory = self.paths.instance_dir(vm_name)
        self.paths.make_dir(directory)
        self.win.vhd.create_differencing_vhd(
            f'{directory}\\root.vhd', f'{BASE}\\{self.name(parent)}')
        return f'{directory}\\root.vhd'

    def test_young_images_are_kept(self):
        self.assertEqual(self.both, self.run_later(0.9))

    def test_grown_copies_go_first(self):
        self.assertEqual(self.both[:1], self.run_later(2))

    def test_images_go_with_their_copies(self):
        """L021."""
        self.assertEqual([], self.run_later(25))

    def test_use_by_any_instance_refreshes_image_and_copies(self):
        paths = [f'{BASE}\\{name}' for name in self.both]
        for path in paths:
            self.paths.touch(path, self.now - 48 * HOUR)
        self.assertEqual(self.both, self.run_later(0, self.instance()))
        for path in paths:
            self.assertGreater(self.paths.mtime(path), self.now - HOUR)

    def test_nothing_is_removed_when_removal_is_off(self):
        self.cache.remove_unused_base_images = False
        self.assertEqual(self.both, self.run_later(1000))

    @ddt.data('.vhd', '_1.vhd')
    def test_parent_of_a_disk_is_kept(self, parent):
        """L022: the instance moved to a host that Nova does not list."""
        self.child(parent=parent)
        self.assertEqual(self.both, self.run_later(1000))

    def test_parent_of_a_disk_to_revert_to_is_kept(self):
        self.child('instance-0000abcd_revert')
        self.assertEqual(self.both, self.run_later(1000))

    def test_nothing_is_removed_when_a_parent_cannot_be_told(self):
        path = self.child()
        with self.paths.open(path, 'wb') as file:
            file.write(b'broken' * 1000)
        with self.assertLogs('compute_hyperv.imagecache', 'WARNING') as logs:
            self.assertEqual(self.both, self.run_later(1000))
        self.assertIn(path, logs.output[0])

    def test_nothing_is_removed_when_a_disk_cannot_be_reached(self):
        """L022: neither its parent nor whether it is there can be told."""
        path = self.child()
        mtime = self.paths._files.mtime

        def unreachable(one):
            if one == path:
                raise OSError(errno.EHOSTUNREACH, 'no answer', one)
            return mtime(one)

        with (mock.patch.object(self.paths._files, 'mtime', unreachable),
              mock.patch.object(self.cache._disks, 'info', unreachable)):
            self.assertEqual(self.both, self.run_later(1000))
        self.assertEqual(self.both, self.run_later(0))
        self.paths.remove(path)
        self.assertEqual([], self.run_later(0))

    def test_image_that_is_being_worked_on_is_kept(self):
        release = self.paths.try_lock(f'image-{self.image_id}')
        self.assertEqual(self.both, self.run_later(1000))
        release()
        self.assertEqual([], self.run_later(0))

    def test_file_in_use_does_not_stop_the_others(self):
        other = str(uuid.uuid4())
        self.win.vhd.create_dynamic_vhd(f'{BASE}\\{other}.vhd', MIB)
        self.paths._busy_timeout_s = 0
        held = self.host.storage.hold(f'{BASE}\\{self.both[0]}', write=False,
                                      share='read', owner='somebody')
        self.addCleanup(held.close)
        self.assertEqual(self.both[:1], self.run_later(1000))

    def test_old_leftovers_are_removed(self):
        with self.paths.open(f'{BASE}\\{self.name(".9.part.vhd")}',
                             'w') as file:
            file.write('half')
        self.assertEqual(self.both, self.run_later(0))

    def test_foreign_files_are_left_alone(self):
        with self.paths.open(f'{BASE}\\readme.txt', 'w') as file:
            file.write('mine')
        self.assertEqual(['readme.txt'], self.run_later(1000))
