# SPDX-License-Identifier: Apache-2.0
"""The files of the fabric: drives of hosts, shares, volumes of clusters.

Every volume is a folder below the fabric's root::

    hosts/<HOST>/<LETTER>    \\\\HOST\\<LETTER>$ is the same folder
    shares/<server>/<share>
    csv/<name>               C:\\ClusterStorage\\<name> of every member

Paths are Windows paths; a name on disk is the name as first written, and
is found whatever the case.  All of this lives in the fabric's process;
programs reach it through the operations of ``file_ops``.
"""

import dataclasses
import os
import re
from typing import Any
from typing import Dict
from typing import Iterable
from typing import Iterator
from typing import List
from typing import Optional
from typing import Set
from typing import Tuple

from . import handles
from . import native
from . import smbaccess
from . import winerror
from . import winpath
from .volumes import Volume
from .winerror import WinError

GIB = 1 << 30


@dataclasses.dataclass(frozen=True)
class Located:
    """Where a Windows path leads.

    :ivar local: the path on this machine, whether it exists or not.
    :ivar missing: how many of its last names do not exist.
    """

    path: str
    volume: Volume
    local: str
    missing: int

    @property
    def exists(self) -> bool:
        """Whether there is a file, folder or link."""
        return not self.missing

    @property
    def size_bytes(self) -> int:
        """Length of the file."""
        return os.path.getsize(self.local)

    def need(self) -> 'Located':
        """Raise WinError 2 or 3 unless it exists."""
        if self.missing:
            has_parent = self.missing == 1 and os.path.isdir(
                os.path.dirname(self.local))
            raise WinError(
                winerror.FILE_NOT_FOUND if has_parent
                else winerror.PATH_NOT_FOUND, self.path)
        return self

    def need_parent(self) -> 'Located':
        """Raise WinError 3 unless it exists or could be made."""
        if self.missing > 1:
            raise WinError(winerror.PATH_NOT_FOUND, self.path)
        return self


class Shares:
    """What the hosts of a fabric have in common.

    :ivar handles: the table of open files.
    :ivar lock: held while names are looked up and changed.
    """

    def __init__(self, root_dir: str) -> None:
        self.root_dir = os.path.realpath(root_dir)
        self.lock = native.RLock()
        self.handles = handles.Handles()
        self.smb = smbaccess.Access()
        self.acls: Dict[handles.Key, List[Dict[str, Any]]] = {}
        self.dir_links: Set[handles.Key] = set()
        self._shares: Dict[Tuple[str, str], Volume] = {}
        self._folders: Dict[Tuple[str, str], Volume] = {}
        self._drives: Dict[Tuple[str, str], Volume] = {}
        self._csvs: Dict[str, Volume] = {}
        self._baseline: Optional[Set[str]] = None

    def add(self, unc: str, capacity_bytes: int) -> Volume:
        """Add a share of a file server, such as ``\\\\SRV\\vms``."""
        server, share = winpath.parse(unc).server_share
        root = os.path.join(self.root_dir, 'shares', server.lower(),
                            share.lower())
        volume = Volume(unc, root, capacity_bytes)
        self._shares[winpath.fold(server), winpath.fold(share)] = volume
        return volume

    def add_folder(self, server: str, share: str, local: str) -> None:
        """Share a folder of a host's drive."""
        self._folders[winpath.fold(server), winpath.fold(share)] = Volume(
            '\\\\%s\\%s' % (server, share), local, 0)

    def add_drive(self, host: str, letter: str,
                  capacity_bytes: int) -> Volume:
        """Add a drive of a host."""
        root = os.path.join(self.root_dir, 'hosts', host, letter.upper())
        volume = Volume(letter.upper() + ':', root, capacity_bytes)
        self._drives[winpath.fold(host), letter.upper()] = volume
        return volume

    def add_csv(self, name: str, capacity_bytes: int,
                storages: Iterable['Storage']) -> Volume:
        """Add a cluster shared volume and mount it on these hosts."""
        root = os.path.join(self.root_dir, 'csv', name)
        volume = self._csvs[name] = Volume(name, root, capacity_bytes)
        for storage in storages:
            mounts = os.path.join(storage.drive('C').root, 'ClusterStorage')
            os.makedirs(mounts, exist_ok=True)
            mount = os.path.join(mounts, name)
            if not os.path.lexists(mount):
                os.symlink(root, mount)
        return volume

    def drive(self, host: str, letter: str) -> Optional[Volume]:
        """A host's drive, or None."""
        return self._drives.get((winpath.fold(host), letter.upper()))

    def share(self, server: str, share: str) -> Optional[Volume]:
        """A share, administrative ones (``C$``) included, or None."""
        key = winpath.fold(server), winpath.fold(share)
        found = self._shares.get(key) or self._folders.get(key)
        if found is None and share[1:] == '$':
            found = self.drive(server, share[0])
        return found

    def knows_server(self, server: str) -> bool:
        """Whether a machine of this name answers at all."""
        folded = winpath.fold(server)
        return any(folded == name for name, _ in self._shares) or any(
            folded == name for name, _ in self._drives)

    def mark(self) -> None:
        """Take what is on shared volumes now as belonging there."""
        self._baseline = self._files()

    def problems(self) -> List[str]:
        """Files on shared volumes that were not there at :meth:`mark`."""
        if self._baseline is None:
            return []
        return ['left behind: %s' % path
                for path in sorted(self._files() - self._baseline)]

    def _files(self) -> Set[str]:
        return {path for volume in [*self._shares.values(),
                                    *self._csvs.values()]
                for path in volume.listing()}

    def dump(self) -> Dict[str, Any]:
        """What must outlive the fabric's process, for JSON."""
        return {'acls': [[*key, entries] for key, entries
                         in self.acls.items()],
                'dir_links': [list(key) for key in self.dir_links]}

    def load(self, dumped: Dict[str, Any]) -> None:
        """Take back what :meth:`dump` gave."""
        self.acls = {(device, inode): entries for device, inode, entries
                     in dumped['acls']}
        self.dir_links = {(device, inode) for device, inode
                          in dumped['dir_links']}

    def volumes(self) -> Iterator[Volume]:
        """Every volume of the fabric."""
        yield from self._drives.values()
        yield from self._shares.values()
        yield from self._csvs.values()

    def volume_at(self, local: str,
                  default: Optional[Volume] = None) -> Volume:
        """The volume that holds a local path, links and mounts followed."""
        real = os.path.realpath(local)
        for volume in self.volumes():
            if real == volume.root or real.startswith(volume.root + os.sep):
                return volume
        if default is None:
            raise WinError(winerror.PATH_NOT_FOUND, local)
        return default


class Storage:
    """The files as one host sees them.

    :ivar ignored: patterns of local paths that :meth:`problems` leaves out.
    """

    def __init__(self, host: Any) -> None:
        self.host = host
        self.shares: Shares = host.fabric.shares
        #: LongPathsEnabled in the registry.
        self.long_paths = bool(host.spec.extra.get('long_paths', False))
        self.ignored: List[str] = []
        self._baseline: Optional[Set[str]] = None
        self._letters: List[str] = []
        for letter, gib in host.spec.volumes.items():
            self._letters.append(letter.upper())
            self.shares.add_drive(host.name, letter, int(gib * GIB))
        if 'C' in self._letters:
            os.makedirs(os.path.join(self.drive('C').root, 'Windows',
                                     'Temp'), exist_ok=True)

    # -- volumes ---------------------------------------------------------

    def volumes(self) -> List[str]:
        """Letters of the fixed drives, ``['C', 'D']``."""
        return sorted(self._letters)

    def volume(self, letter: str) -> Tuple[int, int]:
        """Total and free bytes of a drive."""
        volume = self.drive(letter)
        return volume.capacity_bytes, volume.free_bytes()

    def drive(self, letter: str) -> Volume:
        """The drive of this letter; WinError 3 if there is none."""
        volume = self.shares.drive(self.host.name, letter)
        if volume is None:
            raise WinError(winerror.PATH_NOT_FOUND, letter + ':\\')
        return volume

    # -- names -----------------------------------------------------------

    def locate(self, path: str, *, directory: bool = False) -> Located:
        """Find out where a Windows path leads on this machine.

        :raises WinError: bad name, unknown drive (3), server (53) or share
            (67).
        """
        parsed = winpath.parse(path, directory=directory,
                               long_paths=self.long_paths)
        if parsed.is_device:
            raise WinError(winerror.FILE_NOT_FOUND, path)
        volume = self._volume_of(parsed, path)
        with self.shares.lock:
            local, missing = _walk(volume.root, parsed.parts, path)
        return Located(path, self.shares.volume_at(local, volume), local,
                       missing)

    def _volume_of(self, parsed: winpath.WinPath, path: str) -> Volume:
        drive = parsed.drive
        if drive is not None:
            volume = self.shares.drive(self.host.name, drive)
            if volume is None:
                raise WinError(winerror.PATH_NOT_FOUND, path)
            return volume
        server, share = parsed.server_share
        if server.lower() in smbaccess.LOCAL_NAMES:
            server = self.host.name
        servers = [one for one in self.shares.smb.servers(server)
                   if self._reaches(one)]
        self.shares.smb.check(self.host.name, server, share, path)
        for one in servers:
            volume = self.shares.share(one, share)
            if volume is not None:
                return volume
        known = any(self.shares.knows_server(one) for one in servers)
        raise WinError(winerror.BAD_NET_NAME if known
                       else winerror.BAD_NETPATH, path)

    def _reaches(self, server: str) -> bool:
        """False for a host of the fabric that is off or cut off."""
        fabric = self.host.fabric
        peer = fabric.find(server)
        return peer is None or peer is self.host or (
            peer.powered and fabric.connected(self.host, peer))

    def windows_path(self, local: str) -> Optional[str]:
        """The Windows path of a file of this machine, or None.

        The host's own drives come first, then shares and mounted volumes.
        """
        real = os.path.realpath(local)
        for volume in sorted(self.shares.volumes(),
                             key=lambda one: one.name.startswith('\\')):
            if not (real + os.sep).startswith(volume.root + os.sep):
                continue
            name = volume.name
            if name.endswith(':') and (
                    self.shares.drive(self.host.name, name[0]) != volume):
                continue
            if not name.startswith('\\') and not name.endswith(':'):
                name = 'C:\\ClusterStorage\\' + name
            rest = real[len(volume.root):].replace(os.sep, '\\')
            return name + (rest or '\\')
        return None

    # -- what the rest of the simulator asks -----------------------------

    def exists(self, path: str) -> bool:
        """Whether a path leads to something."""
        try:
            found = self.locate(path)
        except WinError:
            return False
        return found.exists and os.path.exists(found.local)

    def local(self, path: str) -> str:
        """The local path of an existing file; WinError 2, 3 otherwise."""
        return self.locate(path).need().local

    def hold(self, path: str, *, write: bool = False, share: str = 'read',
             owner: str = '', client: str = '') -> handles.OpenFile:
        """Open a file on behalf of the host, for example for a VM.

        :param share: 'none', 'read', 'readwrite' or 'all'.
        :raises WinError: 2, 3 not there, 5 a folder, 32 in use.
        """
        found = self.locate(path).need()
        if os.path.isdir(found.local):
            raise WinError(winerror.ACCESS_DENIED, path)
        access = handles.READ | (handles.WRITE if write else 0)
        return self.shares.handles.open(
            path, found.local, access=access, share=handles.SHARE[share],
            owner=owner, client=client, host=self.host.name)

    def client_gone(self, client: str) -> None:
        """A process ended: the system closes its files."""
        for opened in self._open_here():
            if opened.client == client:
                opened.close()

    def power_cut(self) -> None:
        """The host lost its power: nothing is open any more."""
        for opened in self._open_here():
            opened.close()

    def _open_here(self) -> List[handles.OpenFile]:
        return self.shares.handles.of_host(self.host.name)

    # -- the clean check -------------------------------------------------

    def mark(self) -> None:
        """Take what is there now as belonging to the host."""
        self._baseline = self._files()
        self.shares.mark()

    def problems(self) -> List[str]:
        """Open handles, and files that were not there at :meth:`mark`."""
        found = [str(opened) for opened in self._open_here()]
        if self._baseline is not None:
            left = self._files() - self._baseline
            found += ['left behind: %s' % path for path in sorted(left)
                      if not any(re.search(pattern, path, re.IGNORECASE)
                                 for pattern in self.ignored)]
        return found

    def _files(self) -> Set[str]:
        return {path for letter in self._letters
                for path in self.drive(letter).listing()}


def _walk(root: str, parts: Tuple[str, ...],
          path: str) -> Tuple[str, int]:
    """The local path of names below a folder, and how many are missing."""
    full = os.path.join(root, *parts)
    if os.path.lexists(full):
        return full, 0
    current = root
    for number, part in enumerate(parts):
        following = os.path.join(current, part)
        if not os.path.lexists(following):
            match = _match(current, part)
            if match is None:
                return (os.path.join(current, *parts[number:]),
                        len(parts) - number)
            following = os.path.join(current, match)
        current = following
    return current, 0


def _match(folder: str, name: str) -> Optional[str]:
    """The name in a folder that differs in case only."""
    folded = winpath.fold(name)
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if winpath.fold(entry.name) == folded:
                    return entry.name
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None
