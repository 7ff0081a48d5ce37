# SPDX-License-Identifier: Apache-2.0
"""What ``compute_hyperv.cluster.driver.HyperVClusterDriver`` imports."""

from compute_hyperv.cluster.driver import HyperVClusterDriver  # noqa: F401
