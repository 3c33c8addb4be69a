"""Reads from the provider, as jobs make them: not while it is down."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from crm_api import clock
from crm_api.domain.errors import CrmError
from crm_api.domain.openphone.errors import OpenPhoneBusyError, OpenPhoneDownError
from crm_api.domain.operations import circuits
from crm_api.workers.deps import Deps


@asynccontextmanager
async def reading(deps: Deps) -> AsyncIterator[None]:
    """Stand around a read: how it ends is told to the circuit of all calls.

    Raises:
        OpenPhoneDownError: Nobody may call now; the read is not begun.
    """
    circuit = deps.circuit
    if circuit is None:
        yield
        return
    async with deps.new_uow() as uow:
        state = await circuits.read(uow, circuit)
    if state.is_open:
        raise OpenPhoneDownError("OpenPhone has not answered lately; it is asked once it does.")
    try:
        yield
    except OpenPhoneBusyError as error:
        if not error.is_answer:
            async with deps.new_uow() as uow:
                await circuits.note_failures(
                    uow, circuit, count=1, error=error.detail, now=clock.now()
                )
            raise
        await _note_answer(deps)
        raise
    except CrmError:
        await _note_answer(deps)
        raise
    await _note_answer(deps)


async def _note_answer(deps: Deps) -> None:
    if deps.circuit is not None:
        async with deps.new_uow() as uow:
            await circuits.note_answer(uow, deps.circuit, now=clock.now(), is_proof=False)
