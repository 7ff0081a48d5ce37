# SPDX-License-Identifier: Apache-2.0
"""The demo cloud: OpenStack with simulated Hyper-V nodes on one machine."""
