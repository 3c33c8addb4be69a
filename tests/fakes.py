"""Hand-written fakes."""

from crm_api.platform.jobs import Job, JobName


class RecordingQueue:
    """Records the nudges instead of sending them."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    @property
    def names(self) -> list[JobName]:
        return [job.name for job in self.jobs]

    async def push(self, job: Job) -> None:
        self.jobs.append(job)

    async def ping(self) -> bool:
        return True
