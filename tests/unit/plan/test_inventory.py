# SPDX-License-Identifier: Apache-2.0
"""What placement and the guest are told."""

import unittest

import ddt
import os_traits

from compute_hyperv import model
from compute_hyperv.plan import inventory
from compute_hyperv.plan import metadata
from compute_hyperv.plan import volumes
from tests.unit.plan import factories

RATIOS = {'VCPU': 4.0, 'MEMORY_MB': 1.5, 'DISK_GB': 1.0}


def facts(disk_gib=200, features=('vmx', 'sse'), threads=2):
    return model.HostFacts(
        name='HV1', windows=model.WindowsVersion.parse('10.0.20348'),
        cpu=model.CpuFacts(
            arch='x86_64', vendor='GenuineIntel', model='Xeon', mhz=2400,
            sockets=2, cores_per_socket=4, threads_per_core=threads,
            logical=16, features=frozenset(features)),
        memory_mib=65536, free_memory_mib=60000, numa=(),
        volumes=(model.VolumeFacts(path='C:\\', total_bytes=disk_gib << 30,
                                   free_bytes=0),))


@ddt.ddt
class InventoryTest(unittest.TestCase):

    def test_ratios_and_reservations_are_kept(self):
        """L151: inventories honour ratios and reserved amounts."""
        found = inventory.plan_inventory(
            facts(), RATIOS, inventory.Reserved(cpus=1, memory_mib=2048,
                                                disk_gib=10))
        self.assertEqual(
            {'VCPU': (16, 1, 4.0, 16), 'MEMORY_MB': (65536, 2048, 1.5, 65536),
             'DISK_GB': (200, 10, 1.0, 200)},
            {name: (record['total'], record['reserved'],
                    record['allocation_ratio'], record['max_unit'])
             for name, record in found.items()})

    def test_no_disk_no_inventory_of_it(self):
        found = inventory.plan_inventory(facts(disk_gib=0), RATIOS,
                                         inventory.Reserved())
        self.assertNotIn('DISK_GB', found)

    def test_reservation_is_never_above_the_total(self):
        found = inventory.plan_inventory(
            facts(), RATIOS, inventory.Reserved(disk_gib=500))
        self.assertEqual(200, found['DISK_GB']['reserved'])

    @ddt.data((os_traits.HW_CPU_X86_VMX, True),
              (os_traits.HW_CPU_X86_AVX2, False),
              (os_traits.HW_CPU_HYPERTHREADING, True),
              (os_traits.COMPUTE_STORAGE_BUS_IDE, True),
              (os_traits.COMPUTE_STORAGE_BUS_SCSI, True))
    @ddt.unpack
    def test_traits_follow_the_host(self, trait, expected):
        traits = inventory.plan_traits(facts(), factories.caps())
        self.assertIs(expected, traits[trait])

    def test_every_trait_is_a_standard_one(self):
        traits = inventory.plan_traits(facts(), factories.caps())
        self.assertEqual({'CUSTOM_HYPERV_DISK_QOS'},
                         set(traits) - set(os_traits.get_traits()))

    def test_firmware_traits_follow_the_generations(self):
        host = factories.caps(limits=factories.caps().limits[:1])
        traits = inventory.plan_traits(facts(), host)
        self.assertEqual(
            (True, False), (traits[os_traits.COMPUTE_FIRMWARE_BIOS],
                            traits[os_traits.COMPUTE_FIRMWARE_UEFI]))


class DeviceMetadataTest(unittest.TestCase):

    def plan(self, properties):
        options = factories.disks.DiskOptions(
            volumes=volumes.Protocols(known=frozenset({'iscsi'})))
        return factories.planner(disks=options).instance(
            factories.instance(properties=properties),
            factories.image_meta(**properties),
            factories.bdi(volumes=[factories.volume()]),
            [factories.vif()], factories.layout(), config_drive=True)

    def test_tagged_and_untagged_devices_have_addresses(self):
        """L123: addresses and volume ids also without a tag."""
        plan = self.plan({})
        nic, root, volume = metadata.plan_metadata(
            plan, {'port-1': 'net'}, {'/dev/sdc': 'database'}).devices
        self.assertEqual(('fa:16:3e:00:00:01', ['net']),
                         (nic.mac, nic.tags))
        self.assertNotIn('bus', nic)
        self.assertEqual(('0:0', []), (root.bus.address, root.tags))
        self.assertEqual(('0:0:0:0', 'vol', ['database']),
                         (volume.bus.address, volume.serial, volume.tags))

    def test_lun_is_spelled_as_linux_does(self):
        slot = factories.slot('scsi 0:17')
        disk = metadata.disk_metadata(
            model.VolumeSpec(volume_id='v', protocol='iscsi', slot=slot),
            None)
        self.assertEqual('0:0:0:17', disk.bus.address)
