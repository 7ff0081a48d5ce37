# SPDX-License-Identifier: Apache-2.0
"""D9: instances on several cluster shared volumes."""

import os

from nova import context as nova_context

from tests.functional import livecase
from tests.functional import test_b_rebuild
from tests.functional import test_b_resize

FIRST = r'C:\ClusterStorage\Volume1\Instances'
SECOND = r'C:\ClusterStorage\Volume2\Instances'
#: Nobody made the folder there.
THIRD = r'C:\ClusterStorage\Volume3'


class SeveralVolumes:
    """The second volume has the most free space of those with the folder."""

    def _set_flags(self):
        super()._set_flags()
        self.flags(instances_path=FIRST)

    def _new_fabric(self, hosts):
        fabric = super()._new_fabric(
            hosts, csvs={'Volume1': 100, 'Volume2': 300, 'Volume3': 900})
        storage = fabric.host('HV1').storage
        for path in (FIRST, SECOND):
            volume, name = path.rsplit('\\', 1)
            os.mkdir(os.path.join(storage.local(volume), name))
        return fabric

    def on_volumes(self):
        """What is on each of them of instances."""
        storage = self.fabric.host('HV1').storage
        return [sorted(name for name in os.listdir(storage.local(path))
                       if name not in ('_base', 'locks', 'export'))
                for path in (FIRST, SECOND, THIRD)]


class MoveTest(SeveralVolumes, livecase.LiveMixin, test_b_resize.MoveTest):

    def test_server_lies_where_the_most_space_is(self):
        """L022, L147: whatever is done to it; the others are not touched."""
        server = self.boot_and_write()
        name = server['OS-EXT-SRV-ATTR:instance_name']
        self.assert_on_second(server, name)
        self.assertEqual(400, self.total_gib())

        server = self.live_migrate(server)
        self.assert_on_second(server, name)
        server = self.migrate(server)
        self.assertEqual(('HV1', [[], [name, f'{name}_revert'], []]), (
            self.host_of(server), self.on_volumes()))
        server = self.revert(server)
        self.assert_on_second(server, name)
        server = self.confirm(self.resize(server, self.flavor(disk_gib=2)))
        self.assert_on_second(server, name)
        self.assert_written(server)
        self.forget_images(server)
        self._reboot_server(server, hard=True)
        self.assert_written(server)
        self._delete_server(server)
        self.assertEqual([[], [], []], self.on_volumes())

    def assert_on_second(self, server, name):
        self.assertEqual([[], [name], []], self.on_volumes())
        server = self._show_server(server)
        self.assertTrue(self.vm(server).drive('root.vhdx').path.startswith(
            SECOND), self.vm(server).drives)

    def forget_images(self, server):
        """The parent of a disk on another volume stays."""
        image_id = server['image']['id']
        path = fr'{FIRST}\_base\{image_id}.vhdx'
        local = self.fabric.host('HV1').storage.local(path)
        os.utime(local, (0, 0))
        self.driver().manage_image_cache(nova_context.get_admin_context(), [])
        self.assertTrue(os.path.exists(local))

    def total_gib(self):
        inventories = [
            self._get_provider_inventory(self._get_provider_uuid_by_host(one))
            for one in ('HV1', 'HV2')]
        total, = {item['DISK_GB']['total'] for item in inventories}
        return total


class EvacuateTest(SeveralVolumes, test_b_rebuild.EvacuateCase):

    def test_server_keeps_its_disks(self):
        """L166: on the volume that they lie on."""
        server = self.start(self.evacuate())
        self.assertEqual([test_b_rebuild.DATA] * 2, self.read(server))
        self.come_back()
        self.assertEqual([[], [server['OS-EXT-SRV-ATTR:instance_name']], []],
                         self.on_volumes())
        self.check_end(server)
        self.assertEqual([[], [], []], self.on_volumes())
