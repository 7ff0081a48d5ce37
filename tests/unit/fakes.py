# SPDX-License-Identifier: Apache-2.0
"""Hand-written stand-ins of what a unit gets from outside."""

import errno
import os
import shutil


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self, now=1000.0):
        self.now = now
        self.slept = []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


class Failing:
    """Callable that raises so many errors before it returns a result."""

    def __init__(self, *failures, result=None):
        self._failures = list(failures)
        self._result = result
        self.calls = 0

    def __call__(self, *args):
        self.calls += 1
        if self._failures:
            raise self._failures.pop(0)
        return self._result


class FolderFiles:
    """Files by Windows paths, in a folder of this machine.

    :ivar busy: path → how many more times it is in use.
    :ivar unreachable: whether the share does not answer.
    """

    def __init__(self, root):
        self._root = root
        self.busy = {}
        self.code = 32
        self.unreachable = False

    def host_path(self, path):
        return os.path.join(self._root,
                            *path.replace(':', '').strip('\\').split('\\'))

    def _use(self, path):
        if self.busy.get(path):
            self.busy[path] -= 1
            raise self._error(PermissionError, errno.EACCES, self.code)

    @staticmethod
    def _error(cls, number, winerror):
        error = cls(number, 'Windows says no')
        error.winerror = winerror
        return error

    def _reach(self):
        if self.unreachable:
            raise self._error(OSError, errno.EHOSTUNREACH, 53)

    def exists(self, path):
        return (not self.unreachable
                and os.path.exists(self.host_path(path)))

    def is_file(self, path):
        return (not self.unreachable
                and os.path.isfile(self.host_path(path)))

    def is_dir(self, path):
        return (not self.unreachable
                and os.path.isdir(self.host_path(path)))

    def list_dir(self, path):
        self._reach()
        try:
            return sorted(os.listdir(self.host_path(path)))
        except OSError as exc:
            # Of a file Windows says 267 (not a directory), Wine 123.
            if getattr(exc, 'winerror', None) != 123:
                raise
            raise self._error(NotADirectoryError, errno.ENOTDIR,
                              267) from exc

    def make_dirs(self, path):
        os.makedirs(self.host_path(path), exist_ok=True)

    def open(self, path, mode='r', encoding=None):
        return open(self.host_path(path), mode, encoding=encoding)

    def remove(self, path):
        self._use(path)
        try:
            os.remove(self.host_path(path))
        except FileNotFoundError as exc:
            exc.winerror = 2
            raise

    def remove_dir(self, path):
        self._use(path)
        os.rmdir(self.host_path(path))

    def rename(self, source, target):
        self._use(source)
        if self.exists(target):
            raise self._error(FileExistsError, errno.EEXIST, 183)
        os.rename(self.host_path(source), self.host_path(target))

    def replace(self, source, target):
        self._use(source)
        os.replace(self.host_path(source), self.host_path(target))

    def copy(self, source, target):
        shutil.copyfile(self.host_path(source), self.host_path(target))

    def size_bytes(self, path):
        return os.path.getsize(self.host_path(path))

    def mtime(self, path):
        self._reach()
        return os.path.getmtime(self.host_path(path))

    def touch(self, path, mtime=None):
        os.utime(self.host_path(path), mtime and (mtime, mtime))

    def disk_usage(self, path):
        return 100, 40
