"""Simple replacements (fakes) for parts of the service."""

from crm_api.platform.jobs import Job, JobName


class RecordingQueue:
    """Job queue that records nudges (requests to run a job soon) and does not send them."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    @property
    def names(self) -> list[JobName]:
        return [job.name for job in self.jobs]

    async def push(self, job: Job) -> None:
        self.jobs.append(job)

    async def ping(self) -> bool:
        return True
