# SPDX-License-Identifier: Apache-2.0
"""How long tests wait, and an API client that waits as a user does."""

import time

import fixtures
from nova.tests.functional.api import client

#: How long a test waits, seconds: on a busy machine all takes its time.
PATIENCE_S = 100
_BUSY = 'while it is in task_state'


class PatientApi(fixtures.Fixture):
    """Requests refused because a task is still running are made again.

    Nova shows an image as active, or a volume as attached, a moment before
    the server's task has ended, and refuses the next action for so long.
    """

    def _setUp(self):
        original = client.TestOpenStackClient.request

        def request(*args, **kwargs):
            deadline = time.monotonic() + PATIENCE_S
            while True:
                response = original(*args, **kwargs)
                if (response.status_code != 409 or _BUSY not in response.text
                        or time.monotonic() > deadline):
                    return response
                time.sleep(0.1)

        self.useFixture(fixtures.MonkeyPatch(
            'nova.tests.functional.api.client.TestOpenStackClient.request',
            request))
