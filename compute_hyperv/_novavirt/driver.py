# SPDX-License-Identifier: Apache-2.0
"""What ``compute_driver = compute_hyperv.driver.HyperVDriver`` imports."""

from compute_hyperv.driver import HyperVDriver  # noqa: F401
