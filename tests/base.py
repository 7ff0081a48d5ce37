# SPDX-License-Identifier: Apache-2.0
"""The base of unit tests that want Nova's objects but no services."""

import unittest


class TestCase(unittest.TestCase):
    """unittest's, with whole differences and a check of an error's text."""

    maxDiff = None

    def assert_refuses(self, error, *words, call):
        """*call* raises *error*, whose text names all of *words*.

        :returns: the error.
        """
        with self.assertRaises(error) as caught:
            call()
        for word in words:
            self.assertIn(str(word), str(caught.exception))
        return caught.exception
