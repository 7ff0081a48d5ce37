# SPDX-License-Identifier: Apache-2.0
"""What Nova 34 expects of a driver, read from the Nova that is installed."""

import functools
import inspect
import unittest

import ddt
from nova.virt import driver as nova_driver

from compute_hyperv.cluster import driver as cluster_driver
from compute_hyperv import driver

DRIVERS = (driver.HyperVDriver, cluster_driver.HyperVClusterDriver)

#: The compute manager calls these on every driver; the base class raises.
ALWAYS_CALLED = (
    'init_host', 'cleanup_host', 'get_info', 'list_instances',
    'list_instance_uuids', 'spawn', 'destroy', 'cleanup', 'power_on',
    'power_off', 'reboot', 'get_available_resource', 'get_available_nodes',
    'update_provider_tree', 'plug_vifs', 'unplug_vifs', 'get_host_uptime',
    'get_host_ip_addr', 'manage_image_cache', 'poll_rebooting_instances')


def public_methods(cls):
    """Plain public functions of a class, inherited ones included."""
    return {name: member
            for name, member in inspect.getmembers(cls, inspect.isfunction)
            if not name.startswith('_')}


def parameters(function):
    """(name, kind, default) of each parameter, without annotations."""
    signature = inspect.signature(function)
    return [(item.name, item.kind, item.default)
            for item in signature.parameters.values()]


def overridden(cls):
    """Names of Nova's methods that *cls* defines anew."""
    return sorted(
        name for name, member in public_methods(cls).items()
        if name in public_methods(nova_driver.ComputeDriver)
        and member is not getattr(nova_driver.ComputeDriver, name))


@ddt.ddt
class ContractTest(unittest.TestCase):

    # field-lessons.md L172
    @ddt.data(*DRIVERS)
    def test_every_method_has_novas_signature(self, cls):
        different = {
            name: (parameters(getattr(cls, name)),
                   parameters(getattr(nova_driver.ComputeDriver, name)))
            for name in overridden(cls)
            if parameters(getattr(cls, name))
            != parameters(getattr(nova_driver.ComputeDriver, name))}
        self.assertEqual({}, different)

    # A public method that Nova does not know is either misspelt or ours; Nova
    # will never call it.
    @ddt.data(*DRIVERS)
    def test_there_are_no_public_methods_that_nova_does_not_know(self, cls):
        self.assertEqual([], sorted(
            set(public_methods(cls))
            - set(public_methods(nova_driver.ComputeDriver))))

    # L172
    @ddt.data(*DRIVERS)
    def test_every_capability_that_nova_reads_is_present(self, cls):
        known = (set(nova_driver.ComputeDriver.capabilities)
                 | set(nova_driver.CAPABILITY_TRAITS_MAP))
        self.assertEqual([], sorted(known - set(cls.capabilities)))
        self.assertEqual([], sorted(set(cls.capabilities) - known))

    @ddt.data(*DRIVERS)
    def test_capabilities_are_booleans_of_its_own(self, cls):
        self.assertEqual({bool}, {type(value)
                                  for value in cls.capabilities.values()})
        self.assertIsNot(nova_driver.ComputeDriver.capabilities,
                         cls.capabilities)

    # L172
    @ddt.data(*DRIVERS)
    def test_what_the_manager_always_calls_exists(self, cls):
        self.assertEqual([], [name for name in ALWAYS_CALLED
                              if name not in overridden(cls)])

    # L174: the boundary wraps with functools.wraps, which leaves a mark.
    @ddt.data(*DRIVERS)
    def test_every_method_is_behind_the_error_boundary(self, cls):
        self.assertEqual([], [name for name in overridden(cls)
                              if not hasattr(getattr(cls, name),
                                             '__wrapped__')])

    # L173
    @ddt.data('set_admin_password', 'get_vnc_console')
    def test_what_is_not_supported_is_left_to_novas_refusal(self, name):
        self.assertIs(getattr(nova_driver.ComputeDriver, name),
                      getattr(driver.HyperVDriver, name))

    def test_the_checks_above_can_fail(self):
        class Wrong(nova_driver.ComputeDriver):
            @functools.wraps(nova_driver.ComputeDriver.reboot)
            def plug_vifs(self, instance):
                """A signature of long ago."""
        self.assertIn('plug_vifs', overridden(Wrong))
        self.assertNotEqual(
            parameters(Wrong.plug_vifs),
            parameters(nova_driver.ComputeDriver.plug_vifs))


if __name__ == '__main__':
    unittest.main()
