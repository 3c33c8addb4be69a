"""One PostgreSQL cluster with the migrated schema for the whole test run; tests copy its files.

It takes about five seconds of CPU time to create a cluster and to run all migrations. A copy takes
a fraction of a second.
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
"""Environment variable with the folder of the prepared cluster.

If it is not set, each data directory gets a new cluster instead of a copy.
"""


def copy_cluster(data_dir: Path) -> None:
    """Copy the prepared cluster into a data directory that has no cluster yet.

    The servers of this data directory then start with the migrated schema. The first caller creates
    the prepared cluster; other callers wait until it is complete. Outside a test run, do nothing.
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
                # The caller may run in an event loop, so the migrations need another thread.
                ThreadPoolExecutor() as beside,
            ):
                beside.submit(asyncio.run, upgrade(str(urls.database_url))).result()
            (folder / "is_ready").touch()
    data_dir.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder / "data" / "postgres", target, symlinks=True)
