# SPDX-License-Identifier: Apache-2.0
"""Nova's stand-ins for a message bus and for databases, without their waits.

They are what Nova's own tests use and do the same here, only sooner: the bus
looks for messages every 50 ms, and each transaction opens its SQLite file
anew.
"""

import threading
import time

import fixtures
from oslo_messaging._drivers import impl_fake
from sqlalchemy import pool


class _News:
    """``time`` for the bus: its sleep ends when there is a message.

    A thread that looked before the message came does not sleep at all.
    """

    #: A listener that waits for nothing but messages looks this often, s.
    REST_S = 1.0

    def __init__(self):
        self._condition = threading.Condition()
        self._number = 0
        self._seen = threading.local()

    time = staticmethod(time.time)

    def tell(self):
        with self._condition:
            self._number += 1
            self._condition.notify_all()

    def sleep(self, _pause_s):
        with self._condition:
            seen = getattr(self._seen, 'number', None)
            self._condition.wait_for(lambda: self._number != seen,
                                     self.REST_S)
            self._seen.number = self._number


class PromptBus(fixtures.Fixture):
    """oslo.messaging's bus in memory, which delivers at once."""

    def _setUp(self):
        self._news = _News()
        self.useFixture(fixtures.MonkeyPatch(
            'oslo_messaging._drivers.impl_fake.time', self._news))
        self._tell_after(impl_fake.FakeExchange, 'deliver_message')
        self._tell_after(impl_fake.FakeListener, 'stop')

    def _tell_after(self, cls, name):
        original = getattr(cls, name)

        def and_tell(*args, **kwargs):
            try:
                return original(*args, **kwargs)
            finally:
                self._news.tell()

        self.useFixture(fixtures.MonkeyPatch(
            f'{cls.__module__}.{cls.__name__}.{name}', and_tell))


class KeptConnections(fixtures.Fixture):
    """SQLite files stay open between transactions, until the test's end."""

    def _setUp(self):
        pools = []
        self.addCleanup(lambda: [one.dispose() for one in pools])

        class Kept(pool.QueuePool):
            __module__ = pool.__name__      # the name of its logger

            def __init__(self, creator, pool_size=8, max_overflow=-1,
                         **options):
                options['pre_ping'] = False     # files do not hang up
                super().__init__(creator, pool_size, max_overflow, **options)
                pools.append(self)

        # oslo.db asks for it by this name, for databases in files.
        self.useFixture(fixtures.MonkeyPatch(
            'sqlalchemy.pool.NullPool', Kept))
