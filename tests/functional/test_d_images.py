# SPDX-License-Identifier: Apache-2.0
"""Feature letter D, rows 6 to 8: images, from Glance to the guest's disk."""

import base64
import os
import shutil
import subprocess

import fixtures
from nova import context as nova_context
from nova import objects

from tests.functional import base
from tests.functional import images
from tests.functional import keymanager
from tests import malformed_disks

MIB = 1 << 20
BASE_DIR = base.INSTANCES_DIR + r'\_base'
_TOO_SMALL = "Flavor's disk is too small"


class ImagesCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path

    def cached(self, host='HV1'):
        """Names of the files in the image cache."""
        storage = self.fabric.host(host).storage
        if not storage.exists(BASE_DIR):
            return []
        return sorted(os.listdir(storage.local(BASE_DIR)))

    def refusal(self, image_id, disk_gib=1):
        """Boot; the fault of a refused image, which leaves nothing."""
        server = self.boot(image_id, state='ERROR',
                           flavor_id=self.flavor(disk_gib=disk_gib))
        self.assertEqual([], self.view().vm_names)
        self.assertEqual([], self.cached())
        self.fabric.assert_clean()
        fault = self.fault(server)
        self._delete_server(server)
        return fault

    def make(self, name, *args):
        """Run qemu-img in the test's folder; the path of *name* there."""
        subprocess.run(('qemu-img', *args), check=True, capture_output=True,
                       cwd=self.folder)
        return os.path.join(self.folder, name)

    def assert_reads(self, path, raw_path):
        """A guest reads the bytes of a raw file, then zeros."""
        with self.open_disk(path) as disk, open(raw_path, 'rb') as raw:
            offset = 0
            while piece := raw.read(MIB):
                self.assertEqual(piece, disk.read(offset, len(piece)),
                                 hex(offset))
                offset += len(piece)


class MalformedTest(ImagesCase):
    """D7: none of the files that oslo.utils and qemu-img let through."""

    def _refuse_all(self, fmt):
        maker = malformed_disks.Maker(self.folder)
        cases = [case for case in malformed_disks.CASES if case.fmt == fmt]
        for case in cases:
            with self.subTest(case.name):
                path = maker.make(case)
                fault = self.refusal(self.glance.add(path, fmt))
                self.assertTrue('is unacceptable: ' in fault
                                or _TOO_SMALL in fault, fault)
                os.remove(path)
        return len(cases)

    def test_no_malformed_vhdx_becomes_a_server(self):
        self.assertEqual(36, self._refuse_all('vhdx'))

    def test_no_malformed_vhd_becomes_a_server(self):
        self.assertEqual(26, self._refuse_all('vhd'))


class RefusedImageTest(ImagesCase):
    def test_differencing_disk_is_refused(self):
        maker = malformed_disks.Maker(self.folder)
        for fmt in ('vhd', 'vhdx'):
            fault = self.refusal(
                self.glance.add(maker.sound(f'child.{fmt}'), fmt))
            self.assertIn('differencing disk', fault)

    def test_content_of_another_format_is_refused(self):
        """L024: what is registered as vhd is never opened as it by hope."""
        for kind, declared in (('vhdx', 'vhd'), ('vhd', 'vhdx'),
                               ('qcow2', 'raw'), ('vhdx', 'qcow2'),
                               ('vhd-fixed', 'raw')):
            fault = self.refusal(self.glance.add(
                images.disk_image(kind), declared))
            self.assertIn(f'registered as {declared} but is '
                          f'{kind.partition("-")[0]}', fault)

    def test_unknown_format_is_refused_before_it_is_fetched(self):
        path = self.make('d.vdi', 'create', '-f', 'vdi', 'd.vdi', '16M')
        image_id = self.glance.add(path, 'vdi')

        self.assertIn('vdi (allowed: iso, qcow2, raw, vhd, vhdx, vmdk) is not '
                      'acceptable', self.refusal(image_id))
        self.assertEqual(0, self.glance.downloads[image_id])

    def test_image_that_reads_another_file_is_refused(self):
        secret = os.path.join(self.folder, 'secret')
        shutil.copy(images.disk_image('raw'), secret)
        for options, words in (
                (f'backing_file={secret},backing_fmt=raw', 'backing file'),
                ('data_file=outside.raw', 'data in another file')):
            path = self.make('bad.qcow2', 'create', '-f', 'qcow2', '-o',
                             options, 'bad.qcow2', '16M')
            self.assertIn(words, self.refusal(
                self.glance.add(path, 'qcow2')))

    def test_vmdk_descriptor_is_refused(self):
        path = self.make('flat.vmdk', 'create', '-f', 'vmdk', '-o',
                         'subformat=monolithicFlat', 'flat.vmdk', '16M')

        fault = self.refusal(self.glance.add(path, 'vmdk'))

        self.assertIn('vmdk-descriptor are not accepted', fault)

    def test_qcow2_larger_than_the_flavor_is_not_converted(self):
        path = self.make('big.qcow2', 'create', '-f', 'qcow2', 'big.qcow2',
                         '3G')

        self.assertIn(_TOO_SMALL, self.refusal(
            self.glance.add(path, 'qcow2'), disk_gib=2))

    def test_broken_download_leaves_nothing_and_the_next_one_works(self):
        """L017."""
        image_id = self.glance.add_disk()

        def fail(image_id):
            raise ConnectionError('the network is gone')
        self.glance.before_data, wait = fail, self.glance.before_data
        server = self.boot(image_id, state='ERROR')
        self.assertEqual([], self.cached())
        self.assertEqual([], self.view().vm_names)
        self._delete_server(server)
        self.glance.before_data = wait

        self.boot(image_id)

        self.assertEqual([f'{image_id}.vhdx'], self.cached())


class ConvertedImageTest(ImagesCase):
    """D8."""

    def test_foreign_formats_boot_with_their_content(self):
        raw_path = images.disk_image('raw')
        for kind in ('qcow2', 'raw', 'vmdk'):
            image_id = self.glance.add_disk(kind)

            server = self.boot(image_id)

            root = self.vm(server).drive('root.vhdx')
            self.assert_reads(root.path, raw_path)
            self.assertIn(f'{image_id}.vhdx', self.cached())
            self._delete_server(server)

    def test_fixed_vhd_and_vhdx_boot(self):
        for kind in ('vhd-fixed', 'vhdx-fixed'):
            server = self.boot(self.glance.add_disk(kind))

            fmt = kind.partition('-')[0]
            root = self.vm(server).drive(f'root.{fmt}')
            self.assert_reads(root.path, images.disk_image('raw'))
            self._delete_server(server)

    def test_compressed_vmdk_boots(self):
        path = self.make('s.vmdk', 'convert', '-f', 'raw', '-O', 'vmdk', '-o',
                         'subformat=streamOptimized',
                         images.disk_image('raw'), 's.vmdk')

        server = self.boot(self.glance.add(path, 'vmdk'))

        self.assert_reads(self.vm(server).drive('root.vhdx').path,
                          images.disk_image('raw'))


class OneDownloadTest(ImagesCase):
    """D6, L016."""

    def test_ten_servers_at_once_fetch_their_image_once(self):
        self.flags(max_concurrent_builds=10)
        image_id = self.glance.add_disk()
        # The tenth request is in before any data flows.
        self.glance.before_data = lambda image_id: self.until(
            lambda: len(self._building()) == 10, 'ten builds')
        body = self._build_server(image_uuid=image_id, networks='none',
                                  flavor_id=self.flavor(memory_mib=64))
        body.update(min_count=10, max_count=10)

        self.api.post_server({'server': body})

        self.until(lambda: len(self._active()) == 10, 'ten servers', 60)
        self.assertEqual(1, self.glance.downloads[image_id])
        self.assertEqual(10, len(self.view().vm_names))
        self.assertEqual([f'{image_id}.vhdx'], self.cached())

    def _building(self):
        return [server for server in self.api.get_servers()
                if server['OS-EXT-STS:task_state'] == 'spawning']

    def _active(self):
        return [server for server in self.api.get_servers()
                if server['status'] == 'ACTIVE']

    def test_image_is_cached_before_anybody_boots_it(self):
        image_id = self.glance.add_disk()
        aggregate = self.api.post_aggregate(
            {'aggregate': {'name': 'all', 'availability_zone': None}})
        self.api.add_host_to_aggregate(aggregate['id'], 'HV1')

        self.api.api_post(f'/os-aggregates/{aggregate["id"]}/images',
                          {'cache': [{'id': image_id}]},
                          check_response_status=[202])
        self.until(lambda: self.cached() == [f'{image_id}.vhdx'], 'caching')
        self.boot(image_id)

        self.assertEqual(1, self.glance.downloads[image_id])

    def test_second_server_of_an_image_downloads_nothing(self):
        image_id = self.glance.add_disk('vhd')
        for disk_gib in (1, 2, 2):
            self.boot(image_id, flavor_id=self.flavor(disk_gib=disk_gib))

        self.assertEqual(1, self.glance.downloads[image_id])
        self.assertEqual([f'{image_id}.vhd', f'{image_id}_1.vhd',
                          f'{image_id}_2.vhd'], self.cached())


class SignedImageTest(ImagesCase):
    """D7: signatures, with Nova's own verification."""

    def _set_flags(self):
        super()._set_flags()
        self.flags(verify_glance_signatures=True, group='glance')
        self.flags(backend='tests.functional.keymanager.KeyManager',
                   group='key_manager')

    def _add(self, signer, signed_path=None):
        path = images.disk_image()
        return self.glance.add(
            path, 'vhdx', img_signature_hash_method='SHA-256',
            img_signature_key_type='RSA-PSS',
            img_signature_certificate_uuid=signer.certificate_id,
            img_signature=base64.b64encode(
                signer.sign(signed_path or path)).decode())

    def test_signed_image_boots(self):
        self.boot(self._add(keymanager.Signer('publisher')))

    def test_changed_image_is_refused(self):
        image_id = self._add(keymanager.Signer('publisher'),
                             images.disk_image(seed=2))

        self.assertIn('signature does not match', self.refusal(image_id))

    def test_unsigned_image_is_refused(self):
        self.assertIn('signature', self.refusal(self.glance.add_disk()))

    def test_certificate_must_come_from_a_trusted_one(self):
        authority = keymanager.Signer('authority')
        publisher = keymanager.Signer('publisher', authority)
        image_id = self._add(publisher)
        trusted = {'trusted_image_certificates': [authority.certificate_id]}
        other = {'trusted_image_certificates': [
            keymanager.Signer('somebody').certificate_id]}

        server = self.boot(image_id, state='ERROR', **other)
        self.assertIn('ertificate', self.fault(server))
        self.assertEqual([], self.cached())

        self.boot(image_id, **trusted)


class AgeingTest(ImagesCase):
    """D6, L021, L022: through the driver's interface of Nova's manager."""

    def _set_flags(self):
        super()._set_flags()
        self.flags(remove_unused_original_minimum_age_seconds=100,
                   remove_unused_resized_minimum_age_seconds=50,
                   group='image_cache')

    def _age(self, seconds):
        """Make every file of the cache older."""
        storage = self.host.storage
        for name in self.cached():
            path = storage.local(f'{BASE_DIR}\\{name}')
            then = os.stat(path).st_mtime - seconds
            os.utime(path, (then, then))

    def _run_manager(self, instances):
        self.driver().manage_image_cache(
            nova_context.get_admin_context(), instances)

    def _instances(self):
        return objects.InstanceList.get_by_filters(
            nova_context.get_admin_context(), {'deleted': False})

    def test_images_are_kept_while_a_server_uses_them(self):
        image_id = self.glance.add_disk('vhd')
        server = self.boot(image_id, flavor_id=self.flavor(disk_gib=1))
        files = [f'{image_id}.vhd', f'{image_id}_1.vhd']

        self._age(1000)
        self._run_manager(self._instances())
        self.assertEqual(files, self.cached())

        self._delete_server(server)
        self._run_manager(self._instances())
        self.assertEqual(files, self.cached(), 'their age was refreshed')

        self._age(60)
        self._run_manager(self._instances())
        self.assertEqual(files[:1], self.cached())

        self._age(60)
        self._run_manager(self._instances())
        self.assertEqual([], self.cached())

    def test_parent_of_a_disk_is_kept_though_nova_knows_no_instance(self):
        image_id = self.glance.add_disk()
        self.boot(image_id)

        self._age(1000)
        self._run_manager([])

        self.assertEqual([f'{image_id}.vhdx'], self.cached())
