"""Attribution: rules decide which campaign messages are credited with an outcome.

- Touch: a campaign message, paired with a reply, a call or a delivery that followed it. A message
  can have several touches.
- Credit: the share of an outcome that is credited to one message.
- Unattributed share: the share of an outcome that is credited to no message.
- Rules: they limit the hours between a touch and an outcome, and say how an outcome is divided
  among several touches. Each version of the rules has a number and never changes.
- Run: one computation of all credits. It stores the credits, and hashes to verify them.
"""
