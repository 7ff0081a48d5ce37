# SPDX-License-Identifier: Apache-2.0
"""nova.virt.compute_hyperv and nova.virt.hyperv: see setup.cfg."""

from compute_hyperv.driver import HyperVDriver  # noqa: F401
