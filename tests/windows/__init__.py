# SPDX-License-Identifier: Apache-2.0
"""Tests under Windows' own Python: see doc/source/contributor/windows.rst.

``units`` runs there, ``endtoend`` on Linux beside it; tools/test windows does
both.
"""
