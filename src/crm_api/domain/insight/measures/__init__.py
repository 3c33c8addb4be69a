"""Compute measures, such as the reply rate, from messages, replies, outcomes and costs.

``ARCHITECTURE.md``, "Words", defines the words of the area. Further words of this package:

- Breakdown (``by``): a feature of the records that divides them into groups, such as the campaign.
- Key: one value of the breakdown, such as one campaign.
- Bucket: a part of the requested period: a day, a week or a month.

``figures`` computes figures. It reads stored sums (``place_sums``, ``hour_sums``), copies of
records, or the records themselves (``queries``). ``records`` lists the records of a figure. A job
updates the stored sums (``update_sums``) and the copies (``copy_records``).
"""
