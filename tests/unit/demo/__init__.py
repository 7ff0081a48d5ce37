# SPDX-License-Identifier: Apache-2.0
"""Tests of tools/demo; its program is no installed package."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / 'tools'))
