"""Attribution: rules decide which campaign messages are credited with an outcome.

- Touch: a message of a campaign, and the person's reaction to it: a reply, a call or none.
- Credit: the share of an outcome that is credited to one message.
- Unattributed share: the share of an outcome that is credited to no message.
- Rules: a numbered version that never changes. It says how long after a touch an outcome may
  happen, and how the outcome is divided among several touches.
- Run: a job computes all credits again and stores them.
"""
