# SPDX-License-Identifier: Apache-2.0
"""The driver for nodes of a Windows failover cluster."""
