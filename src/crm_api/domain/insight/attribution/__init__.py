"""Attribution: rules decide which campaign messages are credited with an outcome.

- Rules: they limit the hours between a touch and an outcome, and say how an outcome is divided
  among several touches. Each version of the rules has a number and never changes.
- Run: one computation of all credits. It stores the credits, and hashes to verify them.
"""
