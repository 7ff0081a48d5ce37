# SPDX-License-Identifier: Apache-2.0
"""ML2 mechanism driver that binds ports of simulated Hyper-V hosts.

Entry point ``neutron.ml2.mechanism_drivers: hyperv_sim``. It needs no agent:
it binds every port to the first segment that a vSwitch could carry, as
``vif_type = hyperv``. With ``[ml2_hyperv_sim] fabric_socket`` a bound port
stays DOWN until its NIC is connected on the simulated host, as an agent
would report it; then Neutron sends network-vif-plugged to Nova.
"""

from __future__ import annotations

import functools
from typing import Any

from neutron_lib.api.definitions import port_security
from neutron_lib.api.definitions import portbindings
from neutron_lib import constants
from neutron_lib import context as neutron_context
from neutron_lib.plugins import directory
from neutron_lib.plugins.ml2 import api
from oslo_config import cfg
from oslo_log import log

from compute_hyperv.simcloud import activation

LOG = log.getLogger(__name__)

VIF_TYPE = 'hyperv'
_NETWORK_TYPES = (constants.TYPE_LOCAL, constants.TYPE_FLAT,
                  constants.TYPE_VLAN)
_GROUP = 'ml2_hyperv_sim'
_OPTIONS = [
    cfg.StrOpt(
        'fabric_socket',
        help='Socket of the server of the simulated hosts. With it, a bound '
             'port becomes ACTIVE when its NIC is connected to a virtual '
             'switch there; Nova is told so then. Without it, and with '
             'activation_delay_s = 0, a port is ACTIVE when it is bound, and '
             'Nova never waits.'),
    cfg.FloatOpt(
        'activation_delay_s', default=0.0, min=0.0,
        help='Seconds between the moment when a port could be ACTIVE (see '
             'fabric_socket) and the moment when it is.'),
]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """The options, for the sample configuration's generator."""
    return [(_GROUP, list(_OPTIONS))]


class SimMechanismDriver(api.MechanismDriver):
    """Binds ports at once, and activates them at once or later."""

    def initialize(self) -> None:
        """Read the options; called once by ML2."""
        cfg.CONF.register_opts(_OPTIONS, _GROUP)
        options = cfg.CONF[_GROUP]
        self._later: activation.Activations | None = None
        wired = None
        if options.fabric_socket:
            wired = functools.partial(activation.wired_ports,
                                      options.fabric_socket)
        if wired or options.activation_delay_s:
            self._later = activation.Activations(
                activate, options.activation_delay_s, wired)

    @property
    def connectivity(self) -> str:
        """What a bound port gives: layer 2."""
        return portbindings.CONNECTIVITY_L2

    def bind_port(self, context: Any) -> None:
        """Bind to the first segment that a vSwitch could carry.

        :param context: ML2's PortContext.
        """
        for segment in context.segments_to_bind:
            if segment[api.NETWORK_TYPE] in _NETWORK_TYPES:
                context.set_binding(
                    segment[api.ID], VIF_TYPE,
                    {portbindings.CAP_PORT_FILTER: False,
                     port_security.PORTSECURITY: context.current.get(
                         port_security.PORTSECURITY, True),
                     portbindings.VIF_DETAILS_CONNECTIVITY:
                         self.connectivity},
                    status=(constants.PORT_STATUS_DOWN if self._later
                            else constants.PORT_STATUS_ACTIVE))
                return
        LOG.warning('Port %s has no segment of type %s', context.current['id'],
                    ', '.join(_NETWORK_TYPES))

    def update_port_postcommit(self, context: Any) -> None:
        """Activate later what has been bound.

        :param context: ML2's PortContext.
        """
        port = context.current
        if (self._later is not None and
                port[portbindings.VIF_TYPE] == VIF_TYPE and
                port['status'] == constants.PORT_STATUS_DOWN):
            self._later.ask(port['id'])


def activate(port_id: str) -> None:
    """Make a port ACTIVE; one that is deleted meanwhile is nobody's."""
    plugin = directory.get_plugin()
    done = plugin.update_port_status(
        neutron_context.get_admin_context(), port_id,
        constants.PORT_STATUS_ACTIVE)
    LOG.info('Port %s is %s', port_id,
             'ACTIVE' if done else 'gone, not activated')
