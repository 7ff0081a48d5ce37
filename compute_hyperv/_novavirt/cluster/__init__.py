# SPDX-License-Identifier: Apache-2.0
"""nova.virt.compute_hyperv.cluster and nova.virt.hyperv.cluster."""
