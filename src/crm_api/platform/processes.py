"""Start child processes that end when their parent ends.

A child can run under another user account, because PostgreSQL refuses to run as root.

Each child first runs this module as a script. The script prepares the process, and then becomes the
real program. If a parent with threads prepared the child between fork and exec, the child could
deadlock.
"""

import ctypes
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

NOBODY = 65534
_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000


class StartError(Exception):
    """A program cannot start; the message is one line that says why and what to do."""


@dataclass(frozen=True)
class Account:
    """User and group of a child process.

    Attributes:
        kind: How the user of the child differs from the user of the parent. ``same``: the child has
            the same user. ``switch``: the child has another user; only root can choose it.
            ``namespace``: the child has the same user, but sees another user id, in a user
            namespace.
        uid: The user id of the child, as the child itself sees it.
        gid: The group id of the child, as the child itself sees it.
    """

    kind: Literal["same", "switch", "namespace"]
    uid: int
    gid: int

    @property
    def file_owner(self) -> tuple[int, int]:
        """The user id and the group id that own the files of the child process.

        The ids are valid in this process. In its user namespace, the child may see other ids.
        """
        if self.kind == "switch":
            return self.uid, self.gid
        return os.geteuid(), os.getegid()


def own_account() -> Account:
    """Return the user and the group of this process, to start a child process with them."""
    return Account("same", os.geteuid(), os.getegid())


def choose_account(binary: Path, folder: Path) -> Account:
    """Choose an account for PostgreSQL, which refuses to run as root.

    - For root, choose the user ``nobody``. If ``nobody`` cannot run the server or enter ``folder``,
      run the server in a user namespace.
    - For a user id without a name, run the server in a user namespace. If the server cannot run in
      it, choose the account of this process.
    - For any other user, choose the account of this process.

    Args:
        folder: An existing folder that will contain the server's data.

    Raises:
        StartError: The server cannot run under any of these accounts.
    """
    uid = os.geteuid()
    if uid != 0 and _has_name(uid):
        return own_account()
    candidates = [Account("namespace", NOBODY, NOBODY)]
    if uid == 0 and _others_can_enter(folder):
        candidates.insert(0, Account("switch", *_nobody()))
    for account in candidates:
        if _runs(binary, account):
            return account
    if uid != 0:
        return own_account()
    raise StartError(
        f"PostgreSQL refuses to run as root and no other account can use {folder} and {binary}; "
        "set CRM_DATA_DIR to a directory that other users may enter, or start crm-api as a user "
        "other than root"
    )


def child_command(argv: Sequence[str], *, account: Account, death_signal: int) -> list[str]:
    """Return the command line that runs the command ``argv`` as the user ``account``.

    On Linux, the child gets the signal ``death_signal`` when the thread that started it ends. So
    the caller must start the child from the main thread. On other systems, the child survives this
    process, and the next `crm-api up` stops it.
    """
    step = [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(death_signal))]
    return [*step, account.kind, str(account.uid), str(account.gid), *argv]


def start(
    argv: Sequence[str],
    *,
    account: Account,
    death_signal: int,
    environment: Mapping[str, str],
    pass_fd: int | None = None,
    output: IO[bytes] | None = None,
    folder: Path | None = None,
    has_input: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, so that Ctrl-C reaches only the supervisor.

    Args:
        death_signal: Signal that the child gets if this process dies before the child.
        environment: All environment variables of the child.
        pass_fd: A file descriptor that the child keeps open until it ends.
        output: File for the child's output; None means the output of this process.
        folder: Working directory of the child; None means the directory of this process.
        has_input: If True, the standard input of the child is a pipe. If False, the child gets no
            input.
    """
    return subprocess.Popen(  # noqa: S603 - our own commands, no shell
        child_command(argv, account=account, death_signal=death_signal),
        stdin=subprocess.PIPE if has_input else subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        env=dict(environment),
        cwd=folder,
        pass_fds=() if pass_fd is None else (pass_fd,),
        start_new_session=True,
    )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the child and all processes that it started; do not wait until they have ended."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _nobody() -> tuple[int, int]:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return NOBODY, NOBODY
    return entry.pw_uid, entry.pw_gid


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _others_can_enter(folder: Path) -> bool:
    resolved = folder.resolve()
    return all(path.stat().st_mode & 0o001 for path in (resolved, *resolved.parents))


def _runs(binary: Path, account: Account) -> bool:
    argv = child_command([str(binary), "--version"], account=account, death_signal=signal.SIGKILL)
    result = subprocess.run(argv, capture_output=True, cwd="/", check=False)  # noqa: S603 - as above
    return result.returncode == 0


def _become(kind: str, uid: int, gid: int) -> None:
    if kind == "switch":
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    elif kind == "namespace":
        outer = (os.geteuid(), os.getegid())
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWUSER) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {outer[0]} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {outer[1]} 1")


def _main() -> None:
    parent, death_signal = int(sys.argv[1]), int(sys.argv[2])
    # Python ignores the signals SIGPIPE and SIGXFSZ. A shell may also have started this process so
    # that it ignores SIGINT. The program that is started below would also ignore these signals, so
    # the default is restored.
    for name in ("SIGPIPE", "SIGXFSZ", "SIGINT"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    _become(sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    if sys.platform == "linux":
        # The kernel is asked to send a signal to this process when its parent dies. This must
        # happen after the change of the user account, because that change cancels the request.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)
    os.execv(sys.argv[6], sys.argv[6:])  # noqa: S606 - the purpose of this script


if __name__ == "__main__":
    _main()
