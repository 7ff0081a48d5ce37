# SPDX-License-Identifier: Apache-2.0
"""Reading a console until a text comes."""


class Reader:
    """What was received so far; ``receive()`` gives more or nothing."""

    def __init__(self):
        self.seen = b''

    def receive(self):
        """The next bytes; None or nothing at the end."""
        return b''

    def read_until(self, text):
        """Read until *text* was seen; a failed assertion at the end."""
        while text.encode() not in self.seen:
            received = self.receive()
            if not received:
                raise AssertionError(f'{text!r} not in {self.seen!r}')
            self.seen += received
        return self.seen
