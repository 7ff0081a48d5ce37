# SPDX-License-Identifier: Apache-2.0
"""Storage protocols: how a volume becomes a disk or a file of this host.

One module for each; all take Cinder's connection data with os-brick's keys.
os-brick itself has had no connectors for Windows since 7.0.
"""

from compute_hyperv.connectors.base import Connector
from compute_hyperv.connectors.base import ConnectorCaps
from compute_hyperv.connectors.base import Disk
from compute_hyperv.connectors.base import Search

__all__ = ('Connector', 'ConnectorCaps', 'Disk', 'Search')
