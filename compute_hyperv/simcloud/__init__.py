# SPDX-License-Identifier: Apache-2.0
"""Neutron's and Cinder's side of a cloud with simulated Hyper-V hosts.

Test and demonstration equipment, used by ``tools/demo``; a real cloud has a
network agent and a storage backend instead.
"""
