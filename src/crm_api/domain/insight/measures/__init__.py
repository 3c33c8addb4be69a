"""Compute measures, such as the reply rate, from messages, replies, outcomes and costs.

The words of this package:

- Measure: what is computed, such as the reply rate. Each measure is defined once (``registry``).
- Record: one thing that a measure counts: a message, an outcome, a credit, an answer or a cost.
- Breakdown (``by``): a feature of the records that divides them into groups, such as the campaign.
- Key: one value of the breakdown, such as one campaign.
- Bucket: a part of the requested period: a day, a week or a month.
- Figure: one computed value of a measure: for one key, for one bucket, or the total.
- Record query: the SQL that selects the records of a measure (``record_query``, ``queries``).
- Figure request: the figures that a caller wants (``figure_request``).
- Ripe: a record is ripe when its result can no longer change. For example, a message is ripe for
  the reply rate after 72 hours, because later replies do not count.
- Place: the ZIP, city and source of a person.
- Stored sums and copies: tables that are faster to read than the records (``models``).

``figures`` computes figures with the SQL that ``figure_sums`` makes. The SQL reads stored sums
(``place_sums``, ``hour_sums``), copies, or the records themselves. ``records`` lists the records of
a figure. A job updates the stored sums (``update_sums``) and the copies (``copy_records``).
"""
