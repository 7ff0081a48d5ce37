# SPDX-License-Identifier: Apache-2.0
"""Hyper-V driver for OpenStack Nova, and a simulated Hyper-V host."""
