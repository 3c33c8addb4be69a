"""Scripts with a name, for what people do most."""

from datetime import timedelta

from crm_api.domain.playground.schemas import Act, Behaviour, PersonScript, PersonStep

_DELIVERED = PersonStep(do=Act.DELIVER)
_SOON = timedelta(seconds=30)
_LANDLINE, _FILTERED = "30006", "30007"
"""The carrier's codes for a number that takes no texts, and for a text that it filtered."""

SCRIPTS: dict[Behaviour, tuple[PersonStep, ...]] = {
    Behaviour.REPLIES: (
        _DELIVERED,
        PersonStep(do=Act.REPLY, after=_SOON, text="Yes, please call me.", on_text=1),
    ),
    Behaviour.STOPS: (_DELIVERED, PersonStep(do=Act.REPLY, after=_SOON, text="STOP", on_text=1)),
    Behaviour.SILENT: (_DELIVERED,),
    Behaviour.CALLS: (_DELIVERED, PersonStep(do=Act.CALL, after=_SOON, on_text=1)),
    Behaviour.LANDLINE: (PersonStep(do=Act.FAIL, error_code=_LANDLINE),),
    Behaviour.UNDELIVERED: (PersonStep(do=Act.UNDELIVER, error_code=_FILTERED),),
    Behaviour.UNREACHED: (),
}


def steps_of(wanted: PersonScript) -> tuple[PersonStep, ...]:
    """Return what was ordered, step by step."""
    if wanted.behaviour is not None:
        return SCRIPTS[wanted.behaviour]
    return tuple(wanted.script or ())
