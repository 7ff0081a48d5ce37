# SPDX-License-Identifier: Apache-2.0
"""The list of locks, their order, and who shares them.

Names are made only by the functions here. ``with locks.held(a, b):`` takes
its locks by rank, then by name, and refuses an order that could deadlock,
also across nested blocks of one thread. Inside a lock: only what it guards,
and never unbounded.

==== ==================== ======= =========================================
Rank Lock                 Scope   Guards
==== ==================== ======= =========================================
1    failover(vm_name)    CLUSTER which node claims a moved VM
2    instance(uuid)       PROCESS VM definition against console, recovery, a
                                  running snapshot; event listeners never
                                  take it
3    image(image_id)      CLUSTER ``_base`` entry: fetch, convert, resized
                                  copies, ageing
4    chain(volume_id)     CLUSTER SMB volume's files: snapshots of it
5    target(iqn)          HOST    iSCSI sessions and their use counts
6    share(unc)           HOST    SMB mounts and their use counts
==== ==================== ======= =========================================
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import enum
import ntpath
import re
import sys
import threading
import time
from typing import Any
from typing import Protocol

from oslo_log import log as logging
import tooz
from tooz import coordination

from compute_hyperv import errors
from compute_hyperv import operation


LOG = logging.getLogger(__name__)


class Scope(enum.Enum):
    """Who sees a lock."""

    PROCESS = 'process'
    HOST = 'host'
    CLUSTER = 'cluster'


@dataclasses.dataclass(frozen=True, order=True, slots=True)
class Lock:
    """One lock: *rank* and *name* are the order of taking."""

    rank: int
    name: str
    scope: Scope = dataclasses.field(compare=False)


def failover(vm_name: str) -> Lock:
    """Which node claims the VM *vm_name*."""
    return Lock(1, f'failover-{vm_name}', Scope.CLUSTER)


def instance(uuid: str) -> Lock:
    """The VM definition of one Nova instance."""
    return Lock(2, f'instance-{uuid}', Scope.PROCESS)


def image(image_id: str) -> Lock:
    """The entry of one Glance image in the image cache."""
    return Lock(3, f'image-{image_id}', Scope.CLUSTER)


def chain(volume_id: str) -> Lock:
    """The VHD chain of one SMB volume."""
    return Lock(4, f'chain-{volume_id}', Scope.CLUSTER)


def target(iqn: str) -> Lock:
    """The sessions to one iSCSI target; names ignore case."""
    return Lock(5, f'target-{iqn.lower()}', Scope.HOST)


def share(unc: str) -> Lock:
    """The mount of one SMB share, either slash, any case."""
    path = unc.replace('/', '\\').rstrip('\\').lower()
    return Lock(6, f'share-{path}', Scope.HOST)


class Backend(Protocol):
    """Where the locks of a scope live."""

    def acquire(self, name: str, timeout_s: float) -> Callable[[], None]:
        """Take the lock *name* and return what releases it.

        :raises WaitTimeout: another holder kept it for *timeout_s* seconds.
        """


class ProcessBackend:
    """Locks among the threads of this process."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    def acquire(self, name: str, timeout_s: float) -> Callable[[], None]:
        """See :class:`Backend`."""
        with self._guard:
            lock, users = self._locks.get(name, (threading.Lock(), 0))
            self._locks[name] = (lock, users + 1)
        if not lock.acquire(timeout=timeout_s):
            self._forget(name)
            raise errors.WaitTimeout(what=f'lock {name}', timeout_s=timeout_s)

        def release() -> None:
            lock.release()
            self._forget(name)
        return release

    def _forget(self, name: str) -> None:
        with self._guard:
            lock, users = self._locks[name]
            if users > 1:
                self._locks[name] = (lock, users - 1)
            else:
                del self._locks[name]


class FileBackend:
    """Locks among all that share a directory, hosts included.

    The lock file lies beside what it guards (``paths.try_lock``), so hosts
    with one cache on an SMB share exclude each other; Windows and Linux
    release such a lock when its holder dies.
    """

    def __init__(self, try_lock: Callable[[str], Callable[[], None] | None],
                 *, interval_s: float = 0.5,
                 clock: operation.Clock = time) -> None:
        self._try_lock = try_lock
        self._interval_s = interval_s
        self._clock = clock

    def acquire(self, name: str, timeout_s: float) -> Callable[[], None]:
        """See :class:`Backend`."""
        file_name = re.sub(r'[^A-Za-z0-9._-]', '_', name)
        release = operation.until(
            lambda: self._try_lock(file_name), what=f'lock {name}',
            timeout_s=timeout_s, interval_s=self._interval_s,
            clock=self._clock)
        if release is None:
            raise errors.WaitTimeout(what=f'lock {name}', timeout_s=timeout_s)
        return release


def on_windows(backend_url: str) -> str:
    """The address of a folder, as tooz' file driver needs it on Windows.

    It takes the path of the URL as it stands, and refuses every lock unless
    that is a normal Windows path: ``file:C:\\Locks``, not
    ``file:///C:/Locks``. Other addresses stay what they are.
    """
    scheme, _, rest = backend_url.partition(':')
    if scheme != 'file':
        return backend_url
    path, mark, options = rest.partition('?')
    bare = path.lstrip('/\\')
    if not ntpath.splitdrive(bare)[0]:      # a share of a server
        bare = '//' + bare
    return f'file:{ntpath.normpath(bare)}{mark}{options}'


class ToozBackend:
    """Locks of a tooz coordinator (``[coordination] backend_url``).

    :param coordinator: a started ``tooz.coordination`` driver.
    """

    def __init__(self, coordinator: Any) -> None:
        self._coordinator = coordinator

    @classmethod
    def connect(cls, backend_url: str, host_name: str) -> 'ToozBackend':
        """Start a coordinator.

        :param backend_url: may hold a password, which no error shows.
        :raises BadOption: it cannot be used, or nobody answers there.
        """
        try:
            if sys.platform == 'win32':
                backend_url = on_windows(backend_url)
            coordinator = coordination.get_coordinator(backend_url,
                                                       host_name.encode())
            coordinator.start(start_heart=True)
        except Exception as exc:    # each driver of tooz has its own
            raise errors.BadOption(
                option='[coordination] backend_url',
                reason=_without_password(errors.text_of(exc))) from exc
        return cls(coordinator)

    def acquire(self, name: str, timeout_s: float) -> Callable[[], None]:
        """See :class:`Backend`.

        :raises LockFailed: the service of the locks fails.
        """
        try:
            lock = self._coordinator.get_lock(
                f'compute-hyperv-{name}'.encode())
            is_mine = lock.acquire(blocking=timeout_s)
        except tooz.ToozError as exc:
            raise errors.LockFailed(name=name, reason=_without_password(
                errors.text_of(exc))) from exc
        if not is_mine:
            raise errors.WaitTimeout(what=f'lock {name}', timeout_s=timeout_s)

        def release() -> None:
            try:
                lock.release()
            except tooz.ToozError as exc:
                # What it guarded is done; the lock ends with its session.
                LOG.warning("Lock %s is not released: %s", name,
                            _without_password(errors.text_of(exc)))
        return release


def _without_password(text: str) -> str:
    return re.sub(r'//[^/@\s]*@', '//***@', text)


class Locks:
    """Takes locks in their one order.

    :param process: locks of this process, also used for the HOST scope: one
        nova-compute serves a host.
    :param cluster: locks that other hosts see.
    :param timeout_s: longest wait for one lock, seconds.
    """

    def __init__(self, process: Backend, cluster: Backend,
                 timeout_s: float) -> None:
        self._backends = {Scope.PROCESS: process, Scope.HOST: process,
                          Scope.CLUSTER: cluster}
        self._timeout_s = timeout_s
        self._mine = threading.local()

    @contextlib.contextmanager
    def held(self, *wanted: Lock, timeout_s: float | None = None
             ) -> Iterator[None]:
        """Hold *wanted* inside the block; released in reverse order.

        :param timeout_s: overrides the wait for each lock, seconds.
        :raises RuntimeError: a lock of this or a higher order is held
            already by this thread (a defect of the caller).
        :raises WaitTimeout: somebody else kept one for too long.
        """
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        with contextlib.ExitStack() as stack:
            for lock in sorted(wanted):
                stack.enter_context(self._one(lock, limit_s))
            yield

    @contextlib.contextmanager
    def _one(self, lock: Lock, timeout_s: float) -> Iterator[None]:
        mine: list[Lock] = self._mine.__dict__.setdefault('held', [])
        if mine and lock <= mine[-1]:
            raise RuntimeError(f'{lock.name} wanted while {mine[-1].name} is '
                               f'held: wrong order of locks')
        release = self._backends[lock.scope].acquire(lock.name, timeout_s)
        mine.append(lock)
        try:
            yield
        finally:
            mine.remove(lock)
            release()
