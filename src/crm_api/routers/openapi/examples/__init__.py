"""One story told in examples.

Granite Foundations texts the owners of old houses in Quincy: a list, a campaign, a reply. Ids and
numbers are the same wherever the same person or thing is meant.
"""
