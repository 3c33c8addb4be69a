"""One PostgreSQL cluster with the migrated schema for the whole run of the tests; tests copy it.

To create the files of a cluster and to run all migrations takes about five seconds of CPU time; a
copy takes a fraction of a second.
"""

import asyncio
import fcntl
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from crm_api.dev.embedded_servers import servers
from crm_api.platform.migration_runner import upgrade

FOLDER = "TESTS_PREPARED_CLUSTER"
"""Variable with the folder of the cluster. Without it, each test creates its own cluster."""


def copy_cluster(data_dir: Path) -> None:
    """Copy the cluster into a data directory that has none, if this is a run of the tests.

    The servers of this data directory then start with the migrated schema. The first caller creates
    the cluster; other callers wait until it is complete.
    """
    given, target = os.environ.get(FOLDER), data_dir / "postgres"
    if given is None or target.exists():
        return
    folder = Path(given)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "is_ready").exists():
            with (
                servers(folder / "data", redis=False, fsync=False) as urls,
                ThreadPoolExecutor() as beside,  # the caller may run in an event loop
            ):
                beside.submit(asyncio.run, upgrade(str(urls.database_url))).result()
            (folder / "is_ready").touch()
    data_dir.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder / "data" / "postgres", target, symlinks=True)
