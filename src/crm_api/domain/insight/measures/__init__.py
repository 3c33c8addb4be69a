"""Compute measures, such as the reply rate, from messages, replies, outcomes and costs.

- Measure: what is counted, summed or divided. Each measure is defined once (``registry``).
- Record: one thing that is counted: a message, an outcome, a credit, an answer or a cost.
- Breakdown (``by``): the property by which records are grouped, such as the campaign.
- Key: one value of this property.
- Bucket: a day, a week or a month.
- Figure: one number of a measure: for one key, for one bucket, or the total.
- Record query: the SQL whose rows are the records of a measure (``record_query``, ``queries``).
- Figure request: which figures a caller wants (``figure_request``).
- Ripe: a record is ripe when it can no longer be added to the numerator. For example, a message is
  ripe for the reply rate after 72 hours.
- Place: the ZIP, city and source of a person.
- Stored sums and copies: tables that are faster to read than the records (``models``).

How a figure is computed: ``figures`` runs the SQL that ``figure_sums`` makes for a figure request.
This SQL reads stored sums (``place_sums``, ``hour_sums``), copies of records, or the records
themselves. ``records`` lists the records of a figure. A job updates the stored sums
(``update_sums``) and the copies (``copy_records``).
"""
