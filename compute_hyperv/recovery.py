# SPDX-License-Identifier: Apache-2.0
"""What a crash or a reboot of the host left behind; runs once, at start.

Here is what can be told from the host alone; ``interrupted`` asks Nova.

* Half-built VMs are those that spawn defined but did not finish: no NIC and
  no drive yet, off, and their directory holds no disk: that may be one which
  an evacuated instance, or one that moved, has had before. Nova's own
  start puts their instances in ERROR; they are removed so that deleting or
  building again works.
* Partial files (``*.part``) of interrupted copies of an instance's disks are
  deleted, and those of images that nobody fetches; other files of that ending
  are somebody else's.
* Consoles of running VMs are served again.
* VMs that an option cannot reach any more are named.

Once Nova has told which instances are this host's, and not evacuated:

* Checkpoints that a snapshot left are merged, in the background; until then
  the instance is locked. What it had copied is deleted.
"""

from collections.abc import Callable
from collections.abc import Collection
import ntpath
import re
import threading
from typing import Any

from oslo_log import log as logging

from compute_hyperv import checkpoints
from compute_hyperv import errors
from compute_hyperv import leftdisks
from compute_hyperv import locks
from compute_hyperv import oswin

LOG = logging.getLogger(__name__)

#: Unfinished copies that this driver makes in an instance's directory.
_PARTIAL = re.compile(
    r'(root|eph\d*|swap|configdrive|console|rescue|move|released|'
    r'volume-(snapshot|swap))\b.*\.part',
    re.IGNORECASE)
#: What the guest has written to; a config drive can be made again.
_DISK = re.compile(r'(?!configdrive).*\.a?vhdx?', re.IGNORECASE)
#: Longest wait for the console that is being opened when the service stops.
_JOIN_S = 10.0


class Recovery:
    """Puts the host in order before Nova uses it.

    :param limit_cpu_features: whether new VMs hide features of their
        processors from the guest.
    """

    def __init__(self, *, win: oswin.Win, paths: Any, console: Any,
                 image_cache: Any, locks: locks.Locks,
                 checkpoints: checkpoints.Checkpoints,
                 left: leftdisks.LeftDisks,
                 limit_cpu_features: bool = False) -> None:
        self._win = win
        self._limit_cpu_features = limit_cpu_features
        self._paths = paths
        self._console = console
        self._image_cache = image_cache
        self._locks = locks
        self._checkpoints = checkpoints
        self._left = left
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def run(self) -> None:
        """Do all of it; what fails is logged and the rest goes on.

        Consoles are served by a thread of their own: the service need not
        wait for hundreds of pipes.
        """
        # Nova asks for the space there before the first instance comes.
        self._paths.make_dir(self._paths.instances_dir)
        uuids, states = self._win.uuids(), self._win.states()
        self._try(self._remove_partial_files, 'Partial files')
        self._try(self._image_cache.drop_partials, 'Partial images')
        for vm_name, uuid in sorted(uuids.items()):
            if states.get(vm_name) is oswin.VMState.OFF:
                self._try(self._remove_half_built, f'VM {vm_name}', vm_name,
                          uuid)
        self._serve_consoles({
            vm_name: uuid for vm_name, uuid in uuids.items()
            if states.get(vm_name) is oswin.VMState.RUNNING})
        if self._limit_cpu_features:
            self._report_full_features(uuids)

    def stop(self) -> None:
        """End with the service; idempotent."""
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_JOIN_S)

    def _try(self, part: Callable[..., None], what: str, *args: Any) -> None:
        try:
            part(*args)
        except Exception as exc:
            if not errors.is_expected(exc):
                raise
            LOG.warning("%s: not looked after at start: %s", what,
                        errors.text_of(exc))

    def _serve_consoles(self, uuids: dict[str, str]) -> None:
        if not uuids:
            return
        self._stopping.clear()
        self._thread = threading.Thread(
            target=self._start_consoles, args=(uuids,), daemon=True,
            name='hyperv-consoles')
        self._thread.start()

    def _start_consoles(self, uuids: dict[str, str]) -> None:
        for vm_name, uuid in sorted(uuids.items()):
            if self._stopping.is_set():
                return
            self._console.start(vm_name, uuid)

    def _report_full_features(self, uuids: dict[str, str]) -> None:
        """Name the VMs that were made before the option was set."""
        names = [name for name in self._win.full_featured_names()
                 if name in uuids]
        if names:
            LOG.warning("[hyperv] limit_cpu_features acts on new instances "
                        "only. These cannot migrate live between hosts with "
                        "different processors until they are resized or "
                        "rebuilt: %s", ', '.join(names))

    def _remove_half_built(self, vm_name: str, uuid: str) -> None:
        if self._is_half_built(vm_name):
            LOG.warning("Removing the half-built VM %s of instance %s, left "
                        "by an interrupted build.", vm_name, uuid)
            self._win.vm.destroy_vm(vm_name)
            self._paths.delete_tree(self._paths.instance_dir(vm_name))

    def _is_half_built(self, vm_name: str) -> bool:
        files, volumes = self._win.vm.get_vm_storage_paths(vm_name)
        return not (files or volumes or self._win.nic_names(vm_name) or
                    any(map(_DISK.fullmatch, self._paths.list_dir(
                        self._paths.instance_dir(vm_name)))))

    def end_snapshots(self, known: Collection[str]) -> None:
        """Undo what snapshots of a service that was killed left.

        A merge can take long: each has a thread, which holds the lock of
        its instance from before this returns.

        :param known: uuids of the instances that Nova has here. Of what was
            evacuated there may be a VM, too, but its files are another
            host's if they are on storage that both see.
        """
        self._try(self._end_snapshots, 'Checkpoints', known)

    def _end_snapshots(self, known: Collection[str]) -> None:
        left = self._checkpoints.left()
        for vm_name, uuid in sorted(self._win.uuids().items()):
            if uuid in known:
                self._try(self._end_snapshot_of, f'VM {vm_name}', vm_name,
                          uuid, left.get(vm_name))

    def _end_snapshot_of(self, vm_name: str, uuid: str,
                         names: set[str] | None) -> None:
        directory = self._paths.export_dir(vm_name)
        note = self._paths.read_bytes(
            ntpath.join(directory, checkpoints.NOTE)).decode(
                errors='replace')
        if not note and names is None:
            self._paths.delete_tree(directory)
            return
        locked = threading.Event()
        threading.Thread(
            target=self._merge, daemon=True, name=f'merge-{vm_name}',
            args=(vm_name, uuid, names or set(), note, locked)).start()
        locked.wait(_JOIN_S)

    def _merge(self, vm_name: str, uuid: str, names: set[str], note: str,
               locked: threading.Event) -> None:
        with self._locks.held(locks.instance(uuid)):
            locked.set()
            LOG.warning("A snapshot of %s was interrupted; its checkpoint is "
                        "merged and what it copied is deleted.", vm_name)
            self._try(self._end_snapshot, f'VM {vm_name}', vm_name, names,
                      note)

    def _end_snapshot(self, vm_name: str, names: set[str],
                      note: str) -> None:
        self._left.mend(vm_name)
        self._checkpoints.remove_left(vm_name, names, note)
        # Last, for the note is in there.
        self._paths.delete_tree(self._paths.export_dir(vm_name))

    def _remove_partial_files(self) -> None:
        for directory in list(self._paths.instance_dirs()):
            for name in self._paths.list_dir(directory):
                if _PARTIAL.fullmatch(name):
                    # On a share it may be another host's, who writes it.
                    path = ntpath.join(directory, name)
                    self._try(self._paths.remove, path, path)
