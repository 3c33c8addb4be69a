"""Start child processes that do not outlive their parent, under an account that they accept.

The module is also a script, which runs between fork and the real program. It changes the account,
asks the kernel for a signal when the parent dies, and replaces itself. It is a script, because
Python code between fork and exec can deadlock in a parent that has threads.
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
    """The start is impossible on this machine; the message is one line that says what to do."""


@dataclass(frozen=True)
class Account:
    """User and group of a child process.

    Attributes:
        kind: ``same`` as the parent; ``switch`` to another user, which only root can;
            ``namespace``: the parent's own user, under another id in a user namespace.
        uid: The user id that the child sees as its own.
        gid: The group id that the child sees as its own.
    """

    kind: Literal["same", "switch", "namespace"]
    uid: int
    gid: int

    @property
    def file_owner(self) -> tuple[int, int]:
        """The user and group, as this process sees them, that the child's files belong to."""
        if self.kind == "switch":
            return self.uid, self.gid
        return os.geteuid(), os.getegid()


def own_account() -> Account:
    """Return the account of this process."""
    return Account("same", os.geteuid(), os.getegid())


def choose_account(binary: Path, folder: Path) -> Account:
    """Find an account for a server that refuses to run as root.

    An ordinary user keeps their own. Root changes to nobody, if that user can reach the data and
    the program (not in a folder like root's home), else to a user namespace. Each candidate is
    tried with ``--version``, because some containers forbid one of them.

    Args:
        binary: The server's program.
        folder: An existing folder that will contain its data.

    Raises:
        StartError: No candidate works here.
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
        "give a CRM_DATA_DIR that other users may enter, or start as an ordinary user"
    )


def child_command(argv: Sequence[str], *, account: Account, death_signal: int) -> list[str]:
    """Wrap a command so that it runs as the account and gets the signal when this process dies.

    Start the result from the main thread: Linux sends the signal when the *thread* that started
    the child ends. Other systems have no such signal; there the next start cleans up.
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
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, so that Ctrl-C reaches only the supervisor.

    Args:
        argv: The program and its arguments.
        account: The account of the child.
        death_signal: Signal that the child gets when this process dies without stopping it.
        environment: All of the child's variables.
        pass_fd: A descriptor that the child keeps open as long as it lives.
        output: Where its output goes; None uses this process' own.
        folder: Its working directory; None uses this process' own.
    """
    return subprocess.Popen(  # noqa: S603 - our own commands, no shell
        child_command(argv, account=account, death_signal=death_signal),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        env=dict(environment),
        cwd=folder,
        pass_fds=() if pass_fd is None else (pass_fd,),
        start_new_session=True,
    )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the child and everything that it started, without waiting."""
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
    # Python ignores these signals, and a program would inherit that.
    for name in ("SIGPIPE", "SIGXFSZ", "SIGINT"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    _become(sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    if sys.platform == "linux":
        # After the change of account, which would clear the setting.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)
    os.execv(sys.argv[6], sys.argv[6:])  # noqa: S606 - the purpose of this script


if __name__ == "__main__":
    _main()
