# SPDX-License-Identifier: Apache-2.0
"""The hook that lets plain ``nova-compute`` run on Windows.

nova-compute calls ``os_vif.initialize()``, which loads every plugin of the
entry point group ``os_vif``, before it imports ``nova.compute.manager``: the
last moment at which the shims can come in time (nova/cmd/compute.py, 34.0.0).
Elsewhere than on Windows loading this plugin does nothing.
"""

from os_vif import objects
from os_vif import plugin

from compute_hyperv.service import shims

shims.apply()


class HyperVPlugin(plugin.PluginBase):
    """Plugs nothing: the driver connects its NICs itself."""

    def describe(self) -> objects.host_info.HostPluginInfo:
        """Tell os-vif that no VIF type is handled here."""
        return objects.host_info.HostPluginInfo(
            plugin_name='compute_hyperv', vif_info=[])

    def plug(self, vif: objects.vif.VIFBase,
             instance_info: objects.instance_info.InstanceInfo) -> None:
        """Do nothing: see :class:`compute_hyperv.vifops.VifOps`."""

    def unplug(self, vif: objects.vif.VIFBase,
               instance_info: objects.instance_info.InstanceInfo) -> None:
        """Do nothing: see :class:`compute_hyperv.vifops.VifOps`."""
