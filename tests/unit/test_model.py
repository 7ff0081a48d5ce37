# SPDX-License-Identifier: Apache-2.0
"""Values that could not exist cannot be built."""

import dataclasses
import unittest

import ddt

from compute_hyperv import model
from tests.unit.plan import factories

SCSI = model.Bus.SCSI
IDE = model.Bus.IDE
SLOT = {'bus': SCSI, 'controller': 0, 'lun': 0}
CPU = model.CpuSpec(count=1)
DYNAMIC = model.MemorySpec(maximum_mib=1024, ratio=2.0)
DISK = {'role': model.DiskRole.ROOT, 'path': 'p', 'size_bytes': 1,
        'format': model.DiskFormat.VHDX, 'slot': model.Slot(**SLOT),
        'source': model.DiskSource.BLANK}
NODE = {'nodes': 1, 'vcpus_per_node': 1, 'memory_mib_per_node': 512}
NUMA = model.NumaSpec(**NODE)
SECURE = model.SecuritySpec(secure_boot=True,
                            os_type=model.OSType.WINDOWS)


def machine(**changes):
    values = {'generation': model.Generation.TWO, 'cpu': CPU,
              'memory': model.MemorySpec(maximum_mib=1024)}
    return model.MachineSpec(**(values | changes))


@ddt.ddt
class ImpossibleValuesTest(unittest.TestCase):

    @ddt.data(
        (model.Slot, SLOT, {'lun': 64}),
        (model.Slot, SLOT, {'lun': -1}),
        (model.Slot, SLOT, {'controller': 4}),
        (model.Slot, SLOT, {'bus': IDE, 'lun': 2}),
        (model.Slot, SLOT, {'bus': IDE, 'controller': 2}),
        (model.CpuSpec, {'count': 1}, {'count': 0}),
        (model.CpuSpec, {'count': 1}, {'limit': 100_001}),
        (model.CpuSpec, {'count': 1}, {'weight': 0}),
        (model.CpuSpec, {'count': 1}, {'threads_per_core': 4}),
        (model.MemorySpec, {'maximum_mib': 32}, {'maximum_mib': 31}),
        (model.MemorySpec, {'maximum_mib': 32}, {'maximum_mib': 33}),
        (model.MemorySpec, {'maximum_mib': 32}, {'ratio': 0.5}),
        (model.NumaSpec, NODE, {'nodes': 0}),
        (model.NumaSpec, NODE, {'memory_mib_per_node': 511}),
        (model.SecuritySpec, {}, {'secure_boot': True}),
        (model.SerialPortSpec,
         {'number': 2, 'interactive': True, 'logged': True}, {'number': 3}),
        (model.SerialPortSpec,
         {'number': 2, 'interactive': False, 'logged': True},
         {'logged': False}),
        (model.QosSpec, {'max_iops': 1}, {'max_iops': 0}),
        (model.DiskSpec, DISK, {'size_bytes': -1}),
        (model.DiskSpec, DISK, {'size_bytes': 0}),
        (model.DiskSpec, DISK, {'boot_index': -1}),
        (machine, {}, {'memory': DYNAMIC, 'numa': NUMA}),
        (machine, {}, {'memory': DYNAMIC, 'nested': True}),
        (machine, {'security': SECURE},
         {'generation': model.Generation.ONE}))
    @ddt.unpack
    def test_value_is_refused(self, build, good, change):
        build(**good)
        with self.assertRaises(ValueError):
            build(**(good | change))

    def test_two_drives_cannot_share_a_slot(self):
        disk = model.DiskSpec(**DISK)
        with self.assertRaisesRegex(ValueError, 'slot'):
            model.InstancePlan(vm_name='v', uuid='u', machine=machine(),
                               disks=(disk, disk))

    def test_values_cannot_be_changed(self):
        with self.assertRaises(dataclasses.FrozenInstanceError):
            CPU.count = 2


@ddt.ddt
class HostCapsTest(unittest.TestCase):

    def test_limits_are_found_by_generation(self):
        caps = factories.caps()
        self.assertEqual(
            [64, 1024], [caps.limits_of(generation).vcpus
                         for generation in caps.generations])
        with self.assertRaises(KeyError):
            factories.caps(limits=caps.limits[1:]).limits_of(
                model.Generation.ONE)

    def test_a_host_runs_something(self):
        with self.assertRaises(ValueError):
            factories.caps(limits=())

    @ddt.data(('6.3.9600', 6003, '6.3.9600'),
              ('10.0.20348', 10000, '10.0.20348'),
              ('10.0', 10000, '10.0.0'))
    @ddt.unpack
    def test_version_in_novas_form(self, text, number, spelled):
        """L148: the version is major * 1000 + minor."""
        version = model.WindowsVersion.parse(text)
        self.assertEqual((number, spelled), (version.nova_int, str(version)))
