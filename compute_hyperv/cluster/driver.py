# SPDX-License-Identifier: Apache-2.0
"""Driver for the nodes of a Windows failover cluster."""

from compute_hyperv import driver
from compute_hyperv import errors


@errors.boundary
class HyperVClusterDriver(driver.HyperVDriver):
    """HyperVDriver on a node of a failover cluster.

    Until its cluster parts exist it starts nowhere, rather than run a
    cluster node without failover.
    """

    def init_host(self, host):
        self._win.check_clustered()
        raise errors.ClusterOperationFailed(
            reason='this release cannot run instances as cluster roles; '
                   'use compute_hyperv.driver.HyperVDriver')
