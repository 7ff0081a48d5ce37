# SPDX-License-Identifier: Apache-2.0
"""How a child spells its parent's path."""

import ntpath


def relative_path(child_path: str, parent_path: str) -> str | None:
    """The parent as seen from the child's folder; None on another drive."""
    child_dir = ntpath.dirname(child_path)
    if (ntpath.splitdrive(child_dir)[0].lower()
            != ntpath.splitdrive(parent_path)[0].lower()):
        return None
    relative = ntpath.relpath(parent_path, child_dir)
    return relative if relative.startswith('..\\') else '.\\' + relative


def candidates(child_path: str, relative: str | None,
               *absolute: str | None) -> tuple[str, ...]:
    """Where to look for a parent, in the order that Windows does."""
    paths = []
    if relative:
        child_dir = ntpath.dirname(child_path)
        paths.append(ntpath.normpath(ntpath.join(child_dir, relative)))
    paths += [path.removeprefix('\\\\?\\') for path in absolute if path]
    return tuple(paths)
