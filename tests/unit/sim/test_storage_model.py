# SPDX-License-Identifier: Apache-2.0
"""Random file operations against a model of a drive in a dictionary."""

import shutil
import tempfile

from hypothesis import settings
from hypothesis import stateful
from hypothesis import strategies

from compute_hyperv.sim import fabric as sim_fabric
from compute_hyperv.sim import osmodules
from compute_hyperv.sim import winpath

NAMES = strategies.sampled_from(['a', 'A', 'bC', 'Bc', 'é', 'É'])
PATHS = strategies.lists(NAMES, min_size=1, max_size=3).map(tuple)
BYTES = strategies.binary(max_size=8)


def key(parts):
    return tuple(winpath.fold(name) for name in parts)


class DriveMachine(stateful.RuleBasedStateMachine):
    """The model: folded path -> (name as first written, bytes or None)."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.fabric = sim_fabric.Fabric(self.folder, hosts=[
            {'name': 'HV1', 'volumes': {'D': 1}}])
        self.files = osmodules.Files(self.fabric.host('HV1').port)
        self.model = {(): ('', None)}

    def teardown(self):
        self.fabric.close()
        shutil.rmtree(self.folder)

    # What the model says.

    def is_dir(self, parts):
        entry = self.model.get(key(parts))
        return entry is not None and entry[1] is None

    def missing(self, parts):
        """Code of a path that is not there: 2, 3; None if it is."""
        if key(parts) in self.model:
            return None
        return 2 if self.is_dir(parts[:-1]) else 3

    def below(self, parts):
        """Paths in a folder, at any depth."""
        size = len(parts)
        return [path for path in self.model
                if len(path) > size and path[:size] == key(parts)]

    def put(self, parts, content):
        name = self.model.get(key(parts), (parts[-1],))[0]
        self.model[key(parts)] = (name, content)

    def check(self, expected, call, *args):
        """The call gives the code that the model expects, or works."""
        try:
            call(*args)
            code = None
        except OSError as error:
            code = error.winerror
        assert code == expected, (call.__name__, args, code, expected)
        return code is None

    @staticmethod
    def path(parts):
        return 'D:\\' + '\\'.join(parts)

    # What may happen.

    @stateful.rule(parts=PATHS, content=BYTES)
    def write(self, parts, content):
        expected = None
        if self.is_dir(parts):
            expected = 5
        elif not self.is_dir(parts[:-1]):
            expected = 3

        def write():
            with self.files.open(self.path(parts), 'wb') as file:
                file.write(content)
        if self.check(expected, write):
            self.put(parts, content)

    @stateful.rule(parts=PATHS)
    def make_dir(self, parts):
        expected = 183 if key(parts) in self.model else (
            None if self.is_dir(parts[:-1]) else 3)
        if self.check(expected, self.files.make_dir, self.path(parts)):
            self.put(parts, None)

    @stateful.rule(parts=PATHS)
    def remove(self, parts):
        expected = self.missing(parts) or (5 if self.is_dir(parts) else None)
        if self.check(expected, self.files.remove, self.path(parts)):
            del self.model[key(parts)]

    @stateful.rule(parts=PATHS)
    def remove_dir(self, parts):
        expected = self.missing(parts) or (
            267 if not self.is_dir(parts) else
            145 if self.below(parts) else None)
        if self.check(expected, self.files.remove_dir, self.path(parts)):
            del self.model[key(parts)]

    @stateful.rule(parts=PATHS)
    def remove_tree(self, parts):
        expected = 3 if self.missing(parts) else (
            None if self.is_dir(parts) else 267)
        if self.check(expected, self.files.remove_tree, self.path(parts)):
            for path in self.below(parts) + [key(parts)]:
                del self.model[path]

    @stateful.rule(source=PATHS, aim=PATHS, replace=strategies.booleans())
    def rename(self, source, aim, replace):
        same = key(source) == key(aim)
        expected = self.missing(source)
        if expected is None and not self.is_dir(aim[:-1]):
            expected = 3
        elif expected is None and key(aim) in self.model and not same:
            expected = 183 if not replace else (
                5 if self.is_dir(source) or self.is_dir(aim) else None)
        inside = key(aim)[:len(source)] == key(source) and not same
        if expected is None and inside:
            expected = 87               # a folder into itself
        call = self.files.replace if replace else self.files.rename
        if self.check(expected, call, self.path(source), self.path(aim)):
            moved = {path: self.model.pop(path) for path
                     in self.below(source) + [key(source)]}
            if not same:
                self.model.pop(key(aim), None)
            for path, entry in moved.items():
                new = key(aim) + path[len(source):]
                self.model[new] = entry if len(path) > len(source) else (
                    aim[-1], entry[1])

    @stateful.rule(source=PATHS, aim=PATHS)
    def copy(self, source, aim):
        expected = self.missing(source)
        if expected is None and key(aim) not in self.model and not (
                self.is_dir(aim[:-1])):
            expected = 3
        elif expected is None and (self.is_dir(source)
                                   or self.is_dir(aim)):
            expected = 5
        elif expected is None and key(source) == key(aim):
            expected = 32
        if self.check(expected, self.files.copy, self.path(source),
                      self.path(aim)):
            self.put(aim, self.model[key(source)][1])

    @stateful.invariant()
    def drive_is_as_the_model_says(self):
        for path, (_, content) in self.model.items():
            name = self.path(path)
            if content is None:
                listed = {self.model[other][0] for other
                          in self.below(path) if len(other) == len(path) + 1}
                assert set(self.files.list_dir(name)) == listed
            else:
                with self.files.open(name, 'rb') as file:
                    assert file.read() == content
        assert not self.fabric.host('HV1').storage.problems()
        used = sum(len(content) for _, content in self.model.values()
                   if content is not None)
        assert self.files.disk_usage('D:\\') == (1 << 30, (1 << 30) - used)


DriveTest = DriveMachine.TestCase
DriveTest.settings = settings(deadline=None, max_examples=40,
                              stateful_step_count=30)
