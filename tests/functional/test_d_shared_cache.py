# SPDX-License-Identifier: Apache-2.0
"""D6: hosts on one share have one image cache."""

from tests.functional import base


class SharedCacheTest(base.SharedInstances, base.TestCase):

    HOSTS = ('HV1', 'HV2')

    def test_racing_builds_download_once(self):
        """L016, L017: over all hosts; the others wait for the first."""
        image_id = self.glance.add_disk('vhd')
        flavor_id = self.flavor(disk_gib=1)
        building = [self.boot(image_id, flavor_id=flavor_id, state='BUILD',
                              host=host)
                    for host in ('HV1', 'HV2', 'HV1', 'HV2')]
        servers = [self._wait_for_state_change(server, 'ACTIVE')
                   for server in building]

        self.assertEqual(1, self.glance.downloads[image_id])
        self.assertEqual({'HV1', 'HV2'}, {
            server['OS-EXT-SRV-ATTR:host'] for server in servers})
        parents = {self.driver(server['OS-EXT-SRV-ATTR:host'])._ops.vms
                   ._disks.info(self.vm(server).drive('root.vhd').path)
                   .parent_path.lower() for server in servers}
        self.assertEqual(1, len(parents), parents)
        self.assertTrue(parents.pop().startswith(
            self.SHARE.lower() + r'\_base' + '\\'))
