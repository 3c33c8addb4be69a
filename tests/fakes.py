"""Hand-written stand-ins for what the tests do not want for real."""

from crm_api.jobs import Job, JobName


class RecordingQueue:
    """Remembers the nudges instead of sending them."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    @property
    def names(self) -> list[JobName]:
        return [job.name for job in self.jobs]

    async def push(self, job: Job) -> None:
        self.jobs.append(job)

    async def ping(self) -> bool:
        return True
