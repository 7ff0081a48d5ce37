# SPDX-License-Identifier: Apache-2.0
"""Base of tests that need the folder of a demo cloud."""

import pathlib
import tempfile
import unittest

from cloud import layout


class FolderCase(unittest.TestCase):
    """``self.layout`` is one of an empty folder that goes in the end."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.layout = layout.Layout(pathlib.Path(folder.name))
        self.layout.make_dirs()
