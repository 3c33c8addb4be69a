"""Return a list as one page of JSON, or as a CSV file with all rows."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from fastapi.responses import StreamingResponse

from crm_api.domain.kit.csv_models import ItemT, ReadPage, export_items
from crm_api.domain.kit.schemas import PageRead
from crm_api.platform.database import UnitOfWorkFactory
from crm_api.routers.http.csv_responses import WantsCsv, csv_answer
from crm_api.routers.http.deps import PageParams, Paging, State


@dataclass(frozen=True, kw_only=True)
class ListRequest:
    """A request for a list.

    Attributes:
        page: The page that the caller requests; a CSV file has all pages.
        as_csv: Whether the caller prefers CSV to JSON.
        new_uow: Returns a new unit of work, with which the list is read.
    """

    page: PageParams
    as_csv: bool
    new_uow: UnitOfWorkFactory

    async def respond(
        self, item: type[ItemT], read_page: ReadPage[ItemT], *, name: str
    ) -> "PageRead[ItemT] | StreamingResponse":
        """Return the requested page, or a CSV file with the items of all pages.

        Args:
            item: The model of the items. Its fields are the columns of the CSV file.
            read_page: Reads a page of the list.
            name: The name of the CSV file, without ``.csv``.
        """
        if self.as_csv:
            return csv_answer(await export_items(self.new_uow, item, read_page), name=name)
        async with self.new_uow() as uow:
            return await read_page(uow, self.page.cursor, self.page.limit)


async def list_request(page: Paging, as_csv: WantsCsv, state: State) -> ListRequest:
    """Return the request for a list that is read from the primary database."""
    return ListRequest(page=page, as_csv=as_csv, new_uow=state.new_uow)


async def replica_list_request(page: Paging, as_csv: WantsCsv, state: State) -> ListRequest:
    """Return the request for a list that is read from the replica, if there is one."""
    return ListRequest(page=page, as_csv=as_csv, new_uow=state.new_list_uow)


Listed = Annotated[ListRequest, Depends(list_request)]
ReplicaListed = Annotated[ListRequest, Depends(replica_list_request)]
