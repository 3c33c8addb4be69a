"""Queries on stored facts about numbers, and on validation runs, that must use an index."""

from tests.conftest import NOW
from tests.migrations.filling import LIST, made_id
from tests.migrations.hot import CONTACT, PHONE, PLACE, Hot, sql, use_case

from crm_api.domain.kit.paging import Cursors
from crm_api.domain.messaging.provider_stops import failure_learning, service
from crm_api.domain.people.models.phone_validation import PhoneValidation
from crm_api.domain.people.phone_validation import progress, validation_run
from crm_api.domain.people.phone_validation import service as validations

PHONES = [
    Hot(
        "validations of numbers, newest first",
        {"idx_phone_validation_created"},
        use_case(
            lambda u: validations.list_runs(
                u, cursor=Cursors("phone_validations").write(*PLACE), limit=50
            )
        ),
    ),
    Hot(
        "the next validation of numbers",
        {"idx_phone_validation_open"},
        use_case(lambda uow: progress.claim_validation(uow, now=NOW)),
        is_generic=True,
    ),
    Hot(
        "the next people of a validation, with the stored facts about their numbers",
        {"pk_contact_list_member", "pk_contact", "pk_phone_lookup"},
        lambda s: validation_run.fetch_run_page(
            s,
            run=PhoneValidation(id=made_id("validation", 1), list_id=LIST, position=CONTACT),
            limit=20,
            now=NOW,
        ),
        is_generic=True,
    ),
    Hot(
        "the next number with new failures",
        {"idx_number_failure_new"},
        lambda s: s.execute(failure_learning.NEXT_NUMBER),
        is_generic=True,
    ),
    Hot(
        "the new failures of a number",
        {"idx_number_failure_new|idx_number_failure_phone"},
        lambda s: s.execute(failure_learning.NEW_FAILURES, {"phone": PHONE}),
        is_generic=True,
    ),
    Hot(
        "the failures of a number that count",
        {"idx_number_failure_phone"},
        lambda s: s.execute(
            failure_learning.UNCOUNTED_FAILURES, {"phone": PHONE, "kinds": ["landline"]}
        ),
        is_generic=True,
    ),
    Hot(
        "failures that are marked as learned",
        {"uq_number_failure_activity_id"},
        lambda s: s.execute(
            failure_learning.MARK_LEARNED, {"activity_ids": [made_id("failed", 1)], "now": NOW}
        ),
        is_generic=True,
    ),
    Hot(
        "a number that the provider refuses again",
        {"uq_provider_stop_phone"},
        sql(
            failure_learning.KEEP_PROVIDER_STOP,
            phone=PHONE,
            line_id=made_id("line", 1),
            code="21610",
            message_id=made_id("stopped", 1),
            failures=1,
            first_failed_at=NOW,
            failed_at=NOW,
            now=NOW,
        ),
    ),
    Hot(
        "numbers that the provider refuses, newest first",
        {"idx_provider_stop_created", "idx_send_attempt_phone"},
        sql(
            service.LIST_STOPS,
            status="open",
            phone=None,
            after_at=PLACE[0],
            after_id=PLACE[1],
            limit=51,
        ),
    ),
    Hot(
        "one number that the provider refuses",
        {"pk_provider_stop"},
        sql(service.FIND_STOP, id=made_id("stop", 1)),
        is_generic=True,
    ),
]
