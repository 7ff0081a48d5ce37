# SPDX-License-Identifier: Apache-2.0
"""Fuzz the image inspector, guided by coverage.

Inputs are edits to sound VHD, VHDX, qcow2 and VMDK files, at places where
structures are, mostly with their checksums made right again. A finding is a
crash of the inspector, a verdict that takes too long, or a file that it
accepts though the disk model cannot open it, sees another size or a parent
(and, with --qemu-img, though qemu-img sees another size).

Engines: 'atheris' is libFuzzer with coverage of the inspector's own code. It
is installed from the package registry into the output folder if it is
missing and if there is a build for this Python. Otherwise 'hypothesis' is
used: it has no coverage, but is driven towards files that the inspector
reads further into before it refuses them.

Exit codes: 0 nothing found, 1 a finding (the file and its input are in the
output folder, --replay runs it again), 2 wrong usage.
"""

import argparse
import hashlib
import importlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import traceback


def parse(argv):
    """The command line."""
    parser = argparse.ArgumentParser(
        prog='tools/fuzz-images', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seconds', type=int, default=60, metavar='N',
                        help='how long (default: 60)')
    parser.add_argument('--engine', default='auto',
                        choices=('auto', 'atheris', 'hypothesis'),
                        help='default: auto, which prefers atheris')
    parser.add_argument('--seed', type=int, default=1, metavar='N',
                        help='start of the random numbers (default: 1)')
    parser.add_argument('--qemu-img', action='store_true',
                        help='have qemu-img judge accepted files too')
    parser.add_argument('--out', type=pathlib.Path, metavar='DIR',
                        help='output folder (default: fuzz-images in the '
                             "system's temporary folder); the corpus in it "
                             'is used again')
    parser.add_argument('--replay', type=pathlib.Path, metavar='FILE',
                        help='judge one image file and tell the verdict')
    args = parser.parse_args(argv)
    args.out = args.out or pathlib.Path(tempfile.gettempdir()) / 'fuzz-images'
    return args


def find_atheris(folder, wanted):
    """The module atheris, installed below *folder* if need be, or None."""
    sys.path.append(str(folder))
    try:
        return importlib.import_module('atheris')
    except ImportError:
        if wanted == 'hypothesis':
            return None
    print('Installing atheris from the package registry ...', flush=True)
    done = subprocess.run(
        [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps',
         '--only-binary', ':all:', '--target', str(folder), 'atheris'],
        capture_output=True, text=True)
    importlib.invalidate_caches()
    try:
        return importlib.import_module('atheris')
    except ImportError:
        reason = (done.stderr.strip().splitlines() or ['no reason given'])[-1]
        print('There is no atheris for Python '
              f'{sys.version_info[0]}.{sys.version_info[1]} here: {reason}')
        return None


class Session:
    """One run: judges inputs, counts, keeps what it finds."""

    def __init__(self, args, imagefuzz):
        self._out = args.out
        self._inputs = imagefuzz.inputs
        self._sound = imagefuzz.inputs.seeds()
        self._oracle = imagefuzz.oracle.Oracle(str(args.out), args.qemu_img)
        self._started = time.monotonic()
        self.runs = 0

    def one(self, data):
        """Judge one input of the engine's; how far the inspector got.

        :raises Exception: a finding; the file is kept.
        """
        image = self._inputs.build(data, self._sound)
        self.runs += 1
        try:
            self._oracle.judge(image)
        except Exception as exc:
            self._keep(data, image, exc)
            raise
        return self._oracle.reads

    def _keep(self, data, image, exc):
        stem = self._out / f'finding-{hashlib.sha1(data).hexdigest()[:12]}'
        stem.with_suffix('.img').write_bytes(image)
        stem.with_suffix('.input').write_bytes(data)
        print(f'\nFINDING: {type(exc).__name__}: {exc}\n'
              f'again with: tools/fuzz-images --replay {stem}.img',
              flush=True)

    def report(self, engine):
        """Print what was done."""
        seconds = max(0.1, time.monotonic() - self._started)
        print(f'\n{engine}: {self.runs} files in {seconds:.0f} seconds '
              f'({self.runs / seconds:.0f} a second)')
        for rule, count in sorted(self._oracle.verdicts.items(),
                                  key=lambda item: -item[1]):
            print(f'  {count:>9}  {rule}')
        sys.stdout.flush()


def run_atheris(atheris, args):
    """Fuzz with libFuzzer in a process of its own; its exit code."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with atheris.instrument_imports(include=['compute_hyperv.vhd']):
        from compute_hyperv.vhd import inspect  # noqa: F401
    session = Session(args, load())
    corpus = args.out / 'corpus'
    corpus.mkdir(exist_ok=True)
    deadline = time.monotonic() + args.seconds

    def one(data):
        if time.monotonic() > deadline:
            session.report('atheris')
            os._exit(0)             # libFuzzer has no clean way out
        session.one(data)
    atheris.Setup(
        ['fuzz-images', f'-seed={args.seed}', '-max_len=256',
         '-print_final_stats=0', '-verbosity=0',
         f'-artifact_prefix={args.out}/', str(corpus)], one)
    try:
        atheris.Fuzz()
    finally:
        session.report('atheris')
        os._exit(1)


def run_hypothesis(args):
    """Fuzz by hypothesis in rounds; the exit code."""
    hypothesis = importlib.import_module('hypothesis')
    strategies = importlib.import_module('hypothesis.strategies')
    session = Session(args, load())
    deadline = time.monotonic() + args.seconds

    def one(data):
        if time.monotonic() < deadline:
            hypothesis.target(float(session.one(data)), label='reads')
    code = 0
    seed = args.seed
    while time.monotonic() < deadline and not code:
        search = hypothesis.settings(
            max_examples=1000, deadline=None, database=None,
            suppress_health_check=list(hypothesis.HealthCheck))(
            hypothesis.seed(seed)(hypothesis.given(
                strategies.binary(max_size=128))(one)))
        seed += 1
        try:
            search()
        except Exception:
            traceback.print_exc()
            code = 1
    session.report('hypothesis')
    return code


def load():
    """This package; late, so that atheris instruments what it imports."""
    package = importlib.import_module('imagefuzz')
    for name in ('inputs', 'oracle'):
        importlib.import_module(f'imagefuzz.{name}')
    return package


def replay(args):
    """Judge a file; the exit code."""
    oracle = load().oracle
    with tempfile.TemporaryDirectory() as folder:
        judge = oracle.Oracle(folder, args.qemu_img)
        try:
            print(judge.judge(args.replay.read_bytes()))
        except Exception:
            traceback.print_exc()
            return 1
    return 0


def main(argv=None):
    """Run the command; its exit code."""
    args = parse(argv)
    if args.replay:
        return replay(args)
    args.out.mkdir(parents=True, exist_ok=True)
    atheris = None
    if args.engine != 'hypothesis':
        atheris = find_atheris(args.out / 'atheris', args.engine)
        if atheris is None and args.engine == 'atheris':
            return 2
    if atheris is None:
        return run_hypothesis(args)
    return run_atheris(atheris, args)


if __name__ == '__main__':
    sys.exit(main())
