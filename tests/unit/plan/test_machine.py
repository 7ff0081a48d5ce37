# SPDX-License-Identifier: Apache-2.0
"""The machine that flavor, image and host make together."""

import unittest

import ddt
from nova import exception

from compute_hyperv import model
from tests.unit.plan import factories

GEN1 = model.Generation.ONE
GEN2 = model.Generation.TWO
REFUSED = exception.NovaException


@ddt.ddt
class GenerationTest(unittest.TestCase):

    @ddt.data(
        ({}, GEN1),
        ({'hw_machine_type': 'hyperv-gen1'}, GEN1),
        ({'hw_machine_type': 'hyperv-gen2'}, GEN2),
        ({'hw_firmware_type': 'bios'}, GEN1),
        ({'hw_firmware_type': 'uefi'}, GEN2),
        ({'hw_machine_type': 'hyperv-gen2', 'hw_firmware_type': 'uefi'},
         GEN2),
        ({'hw_machine_type': 'HyperV-Gen2'}, GEN2))
    @ddt.unpack
    def test_image_chooses_the_generation(self, properties, expected):
        spec = factories.plan_machine(factories.ask(**properties))
        self.assertIs(expected, spec.generation)

    @ddt.data(('hyperv-gen1', 'uefi'), ('hyperv-gen2', 'bios'))
    @ddt.unpack
    def test_contradicting_firmware_is_refused(self, machine, firmware):
        asked = factories.ask(hw_machine_type=machine,
                              hw_firmware_type=firmware)
        with self.assertRaisesRegex(
                exception.InvalidInput,
                f'hw_machine_type={machine}.*hw_firmware_type={firmware}'):
            factories.plan_machine(asked)

    def test_machine_of_other_hypervisors_is_refused(self):
        with self.assertRaisesRegex(
                exception.ImageUnacceptable,
                'hw_machine_type=q35; allowed: hyperv-gen1, hyperv-gen2'):
            factories.plan_machine(factories.ask(hw_machine_type='q35'))

    def test_generation_that_the_host_lacks_goes_to_another_host(self):
        host = factories.caps(limits=factories.caps().limits[:1])
        with self.assertRaisesRegex(exception.ComputeResourcesUnavailable,
                                    'generation 2'):
            factories.plan_machine(
                factories.ask(hw_machine_type='hyperv-gen2'), host)


@ddt.ddt
class CpuTest(unittest.TestCase):

    @ddt.data((GEN1, 64, True), (GEN1, 65, False), (GEN2, 65, True),
              (GEN2, 1024, True), (GEN2, 1025, False))
    @ddt.unpack
    def test_vcpus_are_limited_by_generation(self, generation, vcpus, fits):
        asked = factories.ask(
            {'vcpus': vcpus},
            hw_machine_type=f'hyperv-gen{generation.value}')
        if fits:
            self.assertEqual(vcpus, factories.plan_machine(asked).cpu.count)
            return
        with self.assertRaisesRegex(exception.ComputeResourcesUnavailable,
                                    f'the flavor has {vcpus}'):
            factories.plan_machine(asked)

    @ddt.data(True, False)
    def test_limit_cpu_features_is_the_option(self, value):
        """L053: the processor-compatibility flag is set at creation."""
        spec = factories.plan_machine(factories.ask(),
                                      limit_cpu_features=value)
        self.assertIs(value, spec.cpu.limit_features)

    @ddt.data(
        ({}, 100_000),
        ({'quota:cpu_quota': '50000'}, 50_000),
        ({'quota:cpu_quota': '10000', 'quota:cpu_period': '20000'}, 50_000),
        ({'quota:cpu_quota': '400000', 'quota:cpu_period': '100000'},
         100_000),
        ({'quota:cpu_quota': '1', 'quota:cpu_period': '1000000'}, 1),
        ({'quota:cpu_quota': '-1'}, 100_000),
        ({'quota:cpu_period': '20000'}, 100_000))
    @ddt.unpack
    def test_cpu_quota_caps_each_vcpu(self, specs, expected):
        spec = factories.plan_machine(factories.ask(specs=specs))
        self.assertEqual(expected, spec.cpu.limit)

    @ddt.data((1, None, 100), (1, '1024', 100), (1, '2048', 200),
              (4, '4096', 100), (4, '1024', 25), (1, '1', 1),
              (1, '10000000', 10_000))
    @ddt.unpack
    def test_cpu_shares_become_a_weight(self, vcpus, shares, expected):
        specs = {} if shares is None else {'quota:cpu_shares': shares}
        spec = factories.plan_machine(
            factories.ask({'vcpus': vcpus}, specs))
        self.assertEqual(expected, spec.cpu.weight)

    @ddt.data(('quota:cpu_quota', 'half'), ('quota:cpu_quota', '-2'),
              ('quota:cpu_period', '0'), ('quota:cpu_shares', '0'),
              ('hw:cpu_threads', '0'), ('hw:cpu_max_threads', 'many'),
              ('hw:serial_port_count', '3'))
    @ddt.unpack
    def test_bad_number_is_refused_by_name(self, name, value):
        with self.assertRaisesRegex(exception.InvalidInput,
                                    f'{name}={value}; allowed: '):
            factories.plan_machine(factories.ask(specs={name: value}))

    @ddt.data(
        ({}, {}, None),
        ({'hw:cpu_threads': '1'}, {}, 1),
        ({'hw:cpu_threads': '2'}, {}, 2),
        ({'hw:cpu_max_threads': '1'}, {}, 1),
        ({'hw:cpu_max_threads': '2'}, {}, None),
        ({'hw:cpu_threads': '2', 'hw:cpu_max_threads': '2'}, {}, 2),
        ({}, {'hw_cpu_threads': '2'}, 2),
        ({}, {'hw_cpu_max_threads': '1'}, 1),
        ({'hw:cpu_threads': '1'}, {'hw_cpu_threads': '2'}, 1),
        ({'hw:cpu_sockets': '2', 'hw:cpu_cores': '1'}, {}, None))
    @ddt.unpack
    def test_threads_per_core(self, specs, properties, expected):
        spec = factories.plan_machine(factories.ask(specs=specs,
                                                    **properties))
        self.assertEqual(expected, spec.cpu.threads_per_core)

    @ddt.data({'hw:cpu_threads': '2', 'hw:cpu_max_threads': '1'},
              {'hw:cpu_threads': '4'})
    def test_impossible_threads_are_refused(self, specs):
        with self.assertRaisesRegex(exception.InvalidInput,
                                    'hw:cpu_threads='):
            factories.plan_machine(factories.ask(specs=specs))

    @ddt.data('-1', '0')
    def test_bad_property_is_refused_by_name(self, value):
        with self.assertRaisesRegex(
                exception.ImageUnacceptable,
                f'hw_cpu_threads={value}; allowed: 1 or more'):
            factories.plan_machine(factories.ask(hw_cpu_threads=value))

    def test_only_tuned_processors_need_a_second_step(self):
        for specs, tuned in (({}, False), ({'quota:cpu_shares': '1'}, True),
                             ({'hw:cpu_threads': '1'}, True)):
            spec = factories.plan_machine(factories.ask(specs=specs))
            self.assertIs(tuned, spec.cpu.is_tuned)

    def test_odd_vcpus_cannot_be_paired(self):
        with self.assertRaisesRegex(exception.InvalidInput, 'has 3'):
            factories.plan_machine(factories.ask(
                {'vcpus': 3}, {'hw:cpu_threads': '2'}))

    def test_older_windows_shows_no_threads(self):
        host = factories.caps_2012()
        spec = factories.plan_machine(
            factories.ask(specs={'hw:cpu_threads': '1'}), host)
        self.assertIsNone(spec.cpu.threads_per_core)
        with self.assertRaisesRegex(exception.ComputeResourcesUnavailable,
                                    'Windows Server 2019'):
            factories.plan_machine(
                factories.ask(specs={'hw:cpu_threads': '2'}), host)


@ddt.ddt
class MemoryTest(unittest.TestCase):

    @ddt.data((1.0, 1024, 1024, False), (2.0, 1024, 512, True),
              (1.3, 1024, 786, True), (3.0, 1000, 332, True),
              (4.0, 64, 32, True), (2.0, 33, 32, False))
    @ddt.unpack
    def test_startup_memory_is_even(self, ratio, flavor_mib, startup_mib,
                                    dynamic):
        """L049: startup = minimum = RAM / ratio, rounded down to even."""
        memory = factories.plan_machine(
            factories.ask({'memory_mb': flavor_mib}),
            dynamic_memory_ratio=ratio).memory
        self.assertEqual(
            (startup_mib, startup_mib, flavor_mib // 2 * 2, dynamic),
            (memory.startup_mib, memory.minimum_mib, memory.maximum_mib,
             memory.is_dynamic))

    def test_odd_memory_is_rounded_down(self):
        spec = factories.plan_machine(factories.ask({'memory_mb': 1025}))
        self.assertEqual(1024, spec.memory.maximum_mib)

    @ddt.data(
        (exception.InvalidInput, GEN1, 31),
        (exception.ComputeResourcesUnavailable, GEN1, 1024 * 1024 + 1),
        (exception.ComputeResourcesUnavailable, GEN2,
         240 * 1024 * 1024 + 1))
    @ddt.unpack
    def test_memory_beyond_the_limits_is_refused(self, error, generation,
                                                 memory_mib):
        asked = factories.ask(
            {'memory_mb': memory_mib},
            hw_machine_type=f'hyperv-gen{generation.value}')
        with self.assertRaisesRegex(error, f'{memory_mib}'):
            factories.plan_machine(asked)


@ddt.ddt
class NumaTest(unittest.TestCase):

    def test_symmetric_cells_become_nodes(self):
        """L052: symmetric topologies set vCPUs and memory per node."""
        spec = factories.plan_machine(factories.ask(
            {'vcpus': 4}, numa=factories.numa((2, 1024), (2, 1024))))
        self.assertEqual(
            model.NumaSpec(nodes=2, vcpus_per_node=2,
                           memory_mib_per_node=1024), spec.numa)

    def test_numa_turns_dynamic_memory_off(self):
        """L050: dynamic memory and vNUMA are never on together."""
        spec = factories.plan_machine(
            factories.ask(numa=factories.numa((2, 2048))),
            dynamic_memory_ratio=2.0)
        self.assertFalse(spec.memory.is_dynamic)

    @ddt.data(((1, 1024), (3, 1024)), ((2, 512), (2, 1536)))
    def test_asymmetric_cells_are_refused(self, cells):
        """L052: asymmetric NUMA topologies are refused."""
        with self.assertRaisesRegex(exception.InvalidInput,
                                    'hw:numa_nodes.*symmetric'):
            factories.plan_machine(factories.ask(
                numa=factories.numa(*cells)))

    def test_odd_memory_of_a_node_is_refused(self):
        with self.assertRaisesRegex(exception.InvalidInput, 'even'):
            factories.plan_machine(factories.ask(
                numa=factories.numa((1, 511), (1, 511))))

    @ddt.data('dedicated', 'mixed')
    def test_pinning_is_refused(self, policy):
        """L052: CPU pinning is refused, not ignored."""
        topology = factories.numa((2, 2048))
        topology.cells[0].cpu_policy = policy
        with self.assertRaisesRegex(exception.InvalidInput,
                                    'hw:cpu_policy.*allowed: shared'):
            factories.plan_machine(factories.ask(numa=topology))


@ddt.ddt
class NestingTest(unittest.TestCase):

    @ddt.data(({}, {}, False),
              ({'hw:cpu_features': 'vmx'}, {}, True),
              ({}, {'hw_cpu_features': 'vmx'}, True),
              ({'hw:cpu_features': ' VMX, '}, {}, True))
    @ddt.unpack
    def test_vmx_turns_it_on_and_dynamic_memory_off(self, specs, properties,
                                                    nested):
        """L051: without vmx nested virtualization stays off."""
        spec = factories.plan_machine(
            factories.ask(specs=specs, **properties),
            dynamic_memory_ratio=2.0)
        self.assertEqual((nested, not nested),
                         (spec.nested, spec.memory.is_dynamic))

    @ddt.data(({'nested': False}, 'Windows Server 2016'),
              ({'clustered': True}, 'failover cluster'))
    @ddt.unpack
    def test_hosts_that_cannot_are_named(self, changes, text):
        """L051: refused on hosts without support and on clusters."""
        with self.assertRaisesRegex(exception.ComputeResourcesUnavailable,
                                    f'vmx.*{text}'):
            factories.plan_machine(
                factories.ask(specs={'hw:cpu_features': 'vmx'}),
                factories.caps(**changes))

    @ddt.data(({'hw:cpu_features': 'vxm'}, {}, 'hw:cpu_features=vxm'),
              ({}, {'hw_cpu_features': 'svm'}, 'hw_cpu_features=svm'))
    @ddt.unpack
    def test_other_features_are_refused(self, specs, properties, text):
        with self.assertRaisesRegex(REFUSED, f'{text}; allowed: vmx'):
            factories.plan_machine(factories.ask(specs=specs, **properties))


@ddt.ddt
class SerialPortsTest(unittest.TestCase):

    @ddt.data(
        ({}, [(1, True, True)]),
        ({'interactive_serial_port': '1'}, [(1, True, True)]),
        ({'interactive_serial_port': '2'}, [(2, True, True)]),
        ({'logging_serial_port': '1'}, [(1, True, True)]),
        ({'logging_serial_port': '2'}, [(1, True, False), (2, False, True)]),
        ({'interactive_serial_port': '2', 'logging_serial_port': '1'},
         [(1, False, True), (2, True, False)]),
        ({'interactive_serial_port': '2', 'logging_serial_port': '2'},
         [(2, True, True)]))
    @ddt.unpack
    def test_properties_choose_the_ports(self, properties, expected):
        """L064: one port for both is read/write and also logged."""
        spec = factories.plan_machine(factories.ask(**properties))
        self.assertEqual(
            expected, [(port.number, port.interactive, port.logged)
                       for port in spec.serial_ports])

    @ddt.data('interactive_serial_port', 'logging_serial_port')
    def test_other_numbers_are_refused(self, name):
        """L064: other numbers are refused."""
        with self.assertRaisesRegex(exception.ImageUnacceptable,
                                    f'{name}=3; allowed: 1, 2'):
            factories.plan_machine(factories.ask(**{name: '3'}))

    def test_more_ports_than_hyper_v_has_are_refused(self):
        with self.assertRaisesRegex(exception.ImageUnacceptable,
                                    'hw_serial_port_count=4'):
            factories.plan_machine(factories.ask(hw_serial_port_count='4'))


@ddt.ddt
class OtherRequestsTest(unittest.TestCase):

    @ddt.data(None, model.ShutdownAction.SHUTDOWN)
    def test_shutdown_action_is_the_option(self, action):
        spec = factories.plan_machine(factories.ask(),
                                      shutdown_action=action)
        self.assertIs(action, spec.shutdown_action)

    @ddt.data('os:resolution', 'os:monitors', 'os:vram')
    def test_remotefx_is_refused(self, name):
        """L054: hosts without RemoteFX say so at request time."""
        with self.assertRaisesRegex(exception.InvalidInput,
                                    f'{name}=1.*RemoteFX'):
            factories.plan_machine(factories.ask(specs={name: '1'}))
