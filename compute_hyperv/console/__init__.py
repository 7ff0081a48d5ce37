# SPDX-License-Identifier: Apache-2.0
"""Consoles of instances: serial ports over named pipes, and their proxies."""
