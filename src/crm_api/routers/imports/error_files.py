"""Send the errors of an import as a CSV file."""

import csv
import io
from collections.abc import AsyncIterator
from uuid import UUID

from fastapi.responses import StreamingResponse

from crm_api.domain.imports.files import runs
from crm_api.domain.imports.files.runs import ImportKind, ImportRow
from crm_api.platform.database import UnitOfWorkFactory


def respond_with_errors(
    new_uow: UnitOfWorkFactory, kind: ImportKind[ImportRow], import_id: UUID, *, name: str
) -> StreamingResponse:
    """Stream the errors of an import as a CSV file, in the order of the imported file.

    Args:
        name: The name under which a browser saves the CSV file.
    """
    return StreamingResponse(
        _error_lines(new_uow, kind, import_id),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _error_lines(
    new_uow: UnitOfWorkFactory, kind: ImportKind[ImportRow], import_id: UUID
) -> AsyncIterator[str]:
    header = io.StringIO()
    csv.writer(header).writerow(runs.ERROR_COLUMNS)
    yield header.getvalue()
    after: int | None = 0
    while after is not None:
        async with new_uow() as uow:
            lines, after = await runs.errors_as_csv(uow, kind, import_id=import_id, after=after)
        yield lines
