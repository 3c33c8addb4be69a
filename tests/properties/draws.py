"""Hypothesis strategies for the values of one step."""

from datetime import timedelta

from hypothesis import strategies as st
from tests.properties.driver import DECISION_OF_MESSAGE, OTHER_MESSAGES, POINTS
from tests.properties.interrupting_acts import INTERRUPTING_ACTS
from tests.properties.provider import Fault

positions = st.integers(0, 11)
faults = st.sampled_from([fault for fault in Fault if fault is not Fault.NO_CREDITS])
moves = st.sampled_from(
    [
        timedelta(minutes=1),
        timedelta(minutes=16),
        timedelta(minutes=90),
        timedelta(hours=5),
        timedelta(hours=24),
        timedelta(hours=49),
    ]
)
short_moves = st.sampled_from([20.0, 45.0, 62.0, 700.0, 7200.0])
points = st.sampled_from(POINTS)
waits = st.sampled_from([True, True, True, False])
interrupting_acts = st.sampled_from(INTERRUPTING_ACTS)
interrupting_replies = st.sampled_from(["stop", "opt out", "doubt", "doubt", "reply", "call"])
BEFORE_CALL = ("claim.open", "claim.committed", "claim.committed", "gate.committed")
CAMPAIGN_ACTIONS = ("pause", "pause", "resume", "resume", "resume", "cancel", "approve", "reject")
PERSON_ACTIONS = (
    "call",
    "out",
    "in",
    "delete",
    "bar",
    "answer",
    "east",
    "far west",
    "import",
    "number",
)
LINE_ACTIONS = ("limit", "refuse", "unblock", "settle")
words = st.sampled_from([*DECISION_OF_MESSAGE, *OTHER_MESSAGES])
reports = st.lists(st.sampled_from(["delivered", "failed", "undelivered"]), min_size=1, max_size=3)
