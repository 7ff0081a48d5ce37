# SPDX-License-Identifier: Apache-2.0
"""The driver's border, over a host whose calls fail."""

import ddt
from nova import conf as nova_conf
from nova import context
from nova import exception
from oslo_config import fixture as config_fixture

from compute_hyperv.cluster import driver as cluster_driver
from compute_hyperv import driver
from tests import factories
from tests.unit import fakes
from tests.unit import hostcase
from tests.unit import opscase

CONF = nova_conf.CONF
CONTEXT = context.RequestContext('user', 'project', is_admin=False)


@ddt.ddt
class BorderTest(hostcase.HostTestCase):

    def setUp(self):
        super().setUp()
        conf = self.useFixture(config_fixture.Config(CONF)).conf
        conf.set_override('instances_path', self.INSTANCES_DIR)
        conf.set_override('vswitch_name', 'external', 'hyperv')
        conf.set_override('power_state_event_polling_interval', 1, 'hyperv')
        with self.fabric.on('HV1'):
            self.driver = driver.HyperVDriver(opscase.VirtApi())
        self.driver._ops.power._clock = fakes.Clock()
        self.instance = factories.instance(factories.flavor())
        self.win.vm.create_vm(self.instance.name, False, 2, None,
                              notes=[self.instance.uuid])

    def arguments(self, method):
        instance, vif = self.instance, factories.vif()
        return {
            'spawn': (CONTEXT, factories.instance(), factories.image_meta(),
                      [], None, {}),
            'destroy': (CONTEXT, instance, factories.network_info(vif)),
            'cleanup': (CONTEXT, instance, factories.network_info(vif)),
            'power_on': (CONTEXT, instance, None),
            'reboot': (CONTEXT, instance, None, 'HARD'),
            'suspend': (CONTEXT, instance),
            'resume': (CONTEXT, instance, None),
            'resume_state_on_host_boot': (CONTEXT, instance, None, None),
            'plug_vifs': (instance, factories.network_info(vif)),
            'unplug_vifs': (instance, factories.network_info(vif)),
            'attach_interface': (CONTEXT, instance, None, vif),
            'detach_interface': (CONTEXT, instance, vif),
            'get_console_output': (CONTEXT, instance),
            'init_host': ('HV1',), 'list_instances': (),
            'list_instance_uuids': (), 'get_num_instances': (),
            'get_available_resource': ('HV1',), 'get_host_uptime': (),
        }.get(method, (instance,))

    @ddt.data('spawn', 'destroy', 'cleanup', 'power_on', 'power_off',
              'reboot', 'pause', 'unpause', 'suspend', 'resume',
              'resume_state_on_host_boot', 'unplug_vifs', 'plug_vifs',
              'attach_interface', 'detach_interface', 'get_info',
              'get_instance_diagnostics', 'get_console_output',
              'instance_exists', 'list_instances', 'list_instance_uuids',
              'get_num_instances', 'get_available_resource', 'init_host')
    def test_only_novas_errors_leave_it(self, method):
        """L174: no library-specific exception leaves the driver."""
        with self.fabric.faults.failing(kind='query', times=None):
            with self.assertRaises(exception.NovaException) as caught:
                getattr(self.driver, method)(*self.arguments(method))
        self.assertTrue(str(caught.exception))

    def test_shifted_arguments_of_nova_are_understood(self):
        """running_deleted_instance_action = shutdown passes a context."""
        self.driver.power_off(CONTEXT, self.instance)

    def test_host_that_went_down_has_no_uptime(self):
        self.assertIn('up', self.driver.get_host_uptime())

    @ddt.data(('get_vnc_console', 2),
              ('set_admin_password', 2))
    @ddt.unpack
    def test_what_is_not_supported_says_so(self, method, arguments):
        """L173: what is not supported raises not-implemented."""
        with self.assertRaises(NotImplementedError):
            getattr(self.driver, method)(*[None] * arguments)

    def test_service_starts_and_stops(self):
        self.driver.init_host('HV1')
        self.driver.cleanup_host('HV1')
        self.driver.cleanup_host('HV1')

    def test_cluster_driver_needs_a_cluster(self):
        """F1: refuses to start where there is no cluster."""
        with self.fabric.on('HV1'):
            clustered = cluster_driver.HyperVClusterDriver(opscase.VirtApi())
        self.assert_refuses(exception.NovaException,
                            'no node of a failover cluster',
                            call=lambda: clustered.init_host('HV1'))
