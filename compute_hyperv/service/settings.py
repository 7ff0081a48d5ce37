# SPDX-License-Identifier: Apache-2.0
"""What a service is told when it is installed, and its command lines."""

from collections.abc import Sequence
import dataclasses
import ntpath
import os
import subprocess
import sys

from compute_hyperv.service import processes
from compute_hyperv.service import shims
from compute_hyperv.service import supervisor


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How nova-compute is run.

    :ivar name: the service's name (its key for the service manager).
    :ivar config_files: nova.conf and friends, absolute; at least one.
    :ivar config_dirs: directories of further ``*.conf`` files.
    :ivar log_dir: takes the output of nova-compute and its status file.
    """

    name: str
    config_files: tuple[str, ...]
    config_dirs: tuple[str, ...] = ()
    log_dir: str = ''
    policy: supervisor.Policy = supervisor.Policy()

    def __post_init__(self) -> None:
        for path in self.config_files:
            if not os.path.isfile(path):
                raise ValueError(f'There is no configuration file {path}.')
        for path in self.config_dirs:
            if not os.path.isdir(path):
                raise ValueError(f'There is no directory {path}.')

    @property
    def directory(self) -> str:
        """Where output and status go."""
        return self.log_dir or default_log_dir()

    @property
    def output_path(self) -> str:
        """File with everything that nova-compute printed."""
        return os.path.join(self.directory, f'{self.name}-output.log')

    @property
    def status_path(self) -> str:
        """File in which the child tells its state."""
        return os.path.join(self.directory, f'{self.name}.status')

    def nova_args(self) -> list[str]:
        """The command line of nova-compute, without its name."""
        args: list[str] = []
        for path in self.config_files:
            args += ['--config-file', path]
        for path in self.config_dirs:
            args += ['--config-dir', path]
        return args

    def child_argv(self) -> list[str]:
        """The command line of the supervisor's child."""
        return [sys.executable, '-X', 'utf8', '-m',
                'compute_hyperv.service.compute', '--status',
                self.status_path, '--', *self.nova_args()]

    def service_command(self) -> str:
        """The command line that the service manager runs, quoted."""
        policy = self.policy
        return subprocess.list2cmdline([
            sys.executable, '-X', 'utf8', '-m',
            'compute_hyperv.service.winservice', '--name', self.name,
            '--log-dir', self.directory,
            '--start-timeout', f'{policy.start_timeout_s:g}',
            '--stop-timeout', f'{policy.stop_timeout_s:g}',
            '--max-restarts', str(policy.max_restarts),
            *self.nova_args()])

    def launch(self) -> processes.Child:
        """Start a child."""
        with processes.open_output(self.output_path) as output:
            return processes.Child(self.child_argv(), output=output,
                                   status_path=self.status_path)


def default_log_dir() -> str:
    """Where logs go unless the operator says otherwise."""
    if sys.platform == 'win32':
        return ntpath.join(shims.program_data(), 'OpenStack', 'Log')
    return os.path.join(os.path.expanduser('~'), '.compute-hyperv')


def absolute(paths: Sequence[str]) -> tuple[str, ...]:
    """Paths that mean the same in the service's working directory."""
    return tuple(os.path.abspath(path) for path in paths)
