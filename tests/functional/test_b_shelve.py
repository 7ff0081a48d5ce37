# SPDX-License-Identifier: Apache-2.0
"""Feature letter B, row 12: shelve, offload, unshelve."""

from compute_hyperv.sim import guestdisks
from tests.functional import base

OFFSET = 9 << 20
DATA = b'written by the guest'


class ShelveTest(base.TestCase):

    def test_shelved_server_comes_back_with_its_data(self):
        """B12: the image of the shelved server does not stay in the cache."""
        for disk_format, machine in (('vhdx', 'hyperv-gen2'),
                                     ('vhd', 'hyperv-gen1')):
            server = self.boot(self.glance.add_disk(
                disk_format, hw_machine_type=machine), networks='auto')
            guestdisks.of(self.vm(server).vm)[0].write(OFFSET, DATA)
            cached = self.cached()

            self.api.post_server_action(server['id'], {'shelve': {}})
            self._wait_for_server_parameter(
                server, {'status': 'SHELVED_OFFLOADED',
                         'OS-EXT-STS:task_state': None})
            self.assertEqual([], self.view().vm_names)
            self.fabric.assert_clean()
            self.api.post_server_action(server['id'], {'unshelve': None})
            server = self._wait_for_server_parameter(
                server, {'status': 'ACTIVE', 'OS-EXT-STS:task_state': None})

            self.check_back(server, disk_format, cached)

    def check_back(self, server, disk_format, cached):
        vm = self.vm(server)
        self.assertEqual('running', vm.state)
        self.assertEqual(1, len(vm.nics))
        self.assertEqual(DATA, guestdisks.of(vm.vm)[0].read(OFFSET,
                                                            len(DATA)))
        with self.open_disk(vm.drive(f'root.{disk_format}').path) as disk:
            self.assertEqual(('dynamic', None), (disk.kind,
                                                 disk.parent_path))
        self.assertEqual(cached, self.cached())
        self.assertFalse([path for path in self.files()
                          if 'shelved' in path.lower()])
        self._delete_server(server)
        self.fabric.assert_clean()

    def files(self):
        return self.host.storage.drive('C').listing()

    def cached(self):
        return sorted(path for path in self.files()
                      if r'\_base' in path)
