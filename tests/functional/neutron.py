# SPDX-License-Identifier: Apache-2.0
"""Neutron with ports that bind to Hyper-V virtual switches."""

import copy

from nova.tests.fixtures import neutron as nova_neutron


class Neutron(nova_neutron.NeutronFixture):
    """Nova's Neutron, its ports bound with vif_type ``hyperv``.

    With ``active=False`` a port is DOWN until :meth:`activate`, as with an L2
    agent that has to see the vNIC first; the driver's wait for
    ``network-vif-plugged`` is then a real one.
    """

    def __init__(self, test, *, active=True, vif_type='hyperv',
                 plug_timeout_s=60):
        super().__init__(test)
        self._active = active
        self._plug_timeout_s = plug_timeout_s
        self.default_port = copy.deepcopy(self.default_port)
        for port in (self.default_port, *self._ports.values()):
            port['binding:vif_type'] = vif_type
            port['status'] = 'ACTIVE' if active else 'DOWN'

    def setUp(self):
        super().setUp()
        if not self._active:
            self.test.flags(vif_plugging_timeout=self._plug_timeout_s)

    def ports(self, server_id):
        """The ports of a server, as dicts of the Neutron API."""
        return [port for port in self._ports.values()
                if port.get('device_id') == server_id]

    def activate(self, port_id):
        """Set the port up and tell Nova, as Neutron does."""
        port = self._ports[port_id]
        port['status'] = 'ACTIVE'
        self.test.admin_api.create_server_external_events([{
            'name': 'network-vif-plugged', 'status': 'completed',
            'server_uuid': port['device_id'], 'tag': port_id}])
