# SPDX-License-Identifier: Apache-2.0
"""compute_hyperv.simcloud.ml2."""

import queue
import unittest

import ddt
from neutron_lib.api.definitions import portbindings
from neutron_lib import constants
from neutron_lib import fixture as neutron_fixture
from neutron_lib.plugins import constants as plugin_constants
from neutron_lib.plugins import directory
from neutron_lib.plugins.ml2 import api
from oslo_config import cfg
from oslo_config import fixture as config_fixture

from compute_hyperv.simcloud import ml2

_PORT_ID = '0a52e5d8-6f6d-4a0b-8a3c-2d6f7f0b9c11'
_TIMEOUT_S = 60


class _PortContext:
    """The parts of ML2's PortContext that a mechanism driver uses."""

    def __init__(self, *network_types, vif_type=ml2.VIF_TYPE,
                 status=constants.PORT_STATUS_DOWN):
        self.segments_to_bind = [
            {api.ID: f'segment {index}', api.NETWORK_TYPE: network_type}
            for index, network_type in enumerate(network_types)]
        self.current = {'id': _PORT_ID, portbindings.VIF_TYPE: vif_type,
                        'status': status}
        self.bound = None

    def set_binding(self, segment_id, vif_type, vif_details, status=None):
        self.bound = (segment_id, vif_type, vif_details, status)


class _Plugin:
    """Knows one port; remembers the status that it is given."""

    def __init__(self):
        self.updates = queue.SimpleQueue()

    def update_port_status(self, context, port_id, status, host=None):
        assert context.is_admin
        self.updates.put((port_id, status))
        return port_id if port_id == _PORT_ID else None


@ddt.ddt
class SimMechanismDriverTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.config = config_fixture.Config()
        self.config.setUp()
        self.addCleanup(self.config.cleanUp)
        # Neutron's context reads the policy file's place.
        cfg.CONF([], project='neutron', default_config_files=[])
        plugins = neutron_fixture.PluginDirectoryFixture()
        plugins.setUp()
        self.addCleanup(plugins.cleanUp)
        self.plugin = _Plugin()
        directory.add_plugin(plugin_constants.CORE, self.plugin)

    def driver(self, delay_s=0.0):
        self.config.register_opts(ml2.list_opts()[0][1], 'ml2_hyperv_sim')
        self.config.config(activation_delay_s=delay_s, group='ml2_hyperv_sim')
        driver = ml2.SimMechanismDriver()
        driver.initialize()
        if driver._later is not None:
            self.addCleanup(driver._later.stop)
        return driver

    @ddt.data(constants.TYPE_LOCAL, constants.TYPE_FLAT, constants.TYPE_VLAN)
    def test_port_is_bound_to_a_segment_of_a_vswitch(self, network_type):
        context = _PortContext(constants.TYPE_VXLAN, network_type)
        self.driver().bind_port(context)
        segment_id, vif_type, details, _status = context.bound
        self.assertEqual(('segment 1', 'hyperv'), (segment_id, vif_type))
        self.assertEqual('l2', details[
            portbindings.VIF_DETAILS_CONNECTIVITY])
        self.assertFalse(details[portbindings.CAP_PORT_FILTER])

    @ddt.data(True, False)
    def test_port_security_reaches_the_compute_driver(self, wanted):
        context = _PortContext(constants.TYPE_LOCAL)
        context.current['port_security_enabled'] = wanted
        self.driver().bind_port(context)
        self.assertIs(wanted, context.bound[2]['port_security_enabled'])

    def test_port_of_an_overlay_is_left_unbound(self):
        context = _PortContext(constants.TYPE_VXLAN, constants.TYPE_GRE)
        with self.assertLogs(ml2.LOG.logger, 'WARNING'):
            self.driver().bind_port(context)
        self.assertIsNone(context.bound)

    @ddt.data((0.0, constants.PORT_STATUS_ACTIVE),
              (0.1, constants.PORT_STATUS_DOWN))
    @ddt.unpack
    def test_delay_decides_whether_a_bound_port_is_active(
            self, delay_s, expected):
        context = _PortContext(constants.TYPE_LOCAL)
        self.driver(delay_s).bind_port(context)
        self.assertEqual(expected, context.bound[3])

    def test_bound_port_becomes_active_later(self):
        self.driver(0.05).update_port_postcommit(_PortContext())
        self.assertEqual((_PORT_ID, constants.PORT_STATUS_ACTIVE),
                         self.plugin.updates.get(timeout=_TIMEOUT_S))

    @ddt.data({'vif_type': portbindings.VIF_TYPE_UNBOUND},
              {'vif_type': portbindings.VIF_TYPE_BINDING_FAILED},
              {'vif_type': portbindings.VIF_TYPE_OVS},
              {'status': constants.PORT_STATUS_ACTIVE})
    def test_other_ports_are_left_alone(self, port):
        driver = self.driver(0.01)
        driver.update_port_postcommit(_PortContext(**port))
        # The queue is served in order: nothing came before this one.
        driver._later.ask('next')
        self.assertEqual('next',
                         self.plugin.updates.get(timeout=_TIMEOUT_S)[0])

    def test_without_delay_nothing_is_updated(self):
        driver = self.driver()
        driver.update_port_postcommit(_PortContext())
        self.assertIsNone(driver._later)
        self.assertTrue(self.plugin.updates.empty())

    def test_port_deleted_meanwhile_is_no_error(self):
        with self.assertLogs(ml2.LOG.logger, 'INFO') as logs:
            ml2.activate('1b63f6e9-7a7e-4b1c-9b4d-3e7a8a1cad22')
        self.assertIn('gone', logs.output[0])

    def test_connectivity_is_layer_2(self):
        self.assertEqual('l2', self.driver().connectivity)
