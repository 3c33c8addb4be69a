"""The rules about a number as conditions of SQL: claim, gate, derive and explain share them."""

FLAGGED = """EXISTS (
    SELECT 1 FROM contact_flag f
    WHERE f.phone = {phone} AND f.flag_type IN ({flags})
      AND (f.expires_at IS NULL OR f.expires_at > :now))"""
SUPPRESSED = FLAGGED.format(phone="{phone}", flags="'opted_out', 'opt_out_hold', 'do_not_contact'")
DELETED = "EXISTS (SELECT 1 FROM contact p WHERE p.phone = {phone} AND p.deleted_at IS NOT NULL)"
BARRED = f"({SUPPRESSED} OR {DELETED})"
"""No campaign text: a flag stands on the number, or its contact was deleted."""
OPTED_OUT = FLAGGED.format(phone="{phone}", flags="'opted_out'")
EXEMPT_OR_FREE = f"""(CASE
    WHEN a.kind = 'campaign' THEN NOT {BARRED.format(phone="a.phone")}
    WHEN a.kind IN ('manual', 'test') THEN NOT {OPTED_OUT.format(phone="a.phone")}
    ELSE true END)"""
"""HELP and the one confirmation answer the person's own text, so they pass an opt-out."""

FOLLOW_UP_ENDED = """EXISTS (
    SELECT 1 FROM campaign_membership f
    WHERE f.id = {member} AND f.step > 0 AND f.ended_by IS NOT NULL)"""
"""The person has answered or called since the text before."""

KEPT = """EXISTS (
    SELECT 1 FROM send_attempt a
    WHERE a.phone = {phone} AND (a.status = 'parked' OR a.is_matched)
      AND a.called_at > CAST(:now AS timestamptz) - make_interval(secs => :grace))"""
"""R2: a parked or matched send keeps its number until its window is over."""
TEXTED_LATELY = """({min_days} IS NOT NULL AND EXISTS (
    SELECT 1 FROM send_attempt a
    WHERE a.phone = {phone} AND a.kind = 'campaign' AND a.campaign_id <> :campaign_id
      AND a.status NOT IN ('released', 'refused')
      AND a.created_at > CAST(:now AS timestamptz) - make_interval(days => {min_days})))"""
TEXTED_OFTEN = """({max_recent} IS NOT NULL AND {max_recent} <= (
    SELECT count(*) FROM send_attempt a
    WHERE a.phone = {phone} AND a.kind = 'campaign' AND a.status NOT IN ('released', 'refused')
      AND a.created_at > CAST(:now AS timestamptz) - make_interval(hours => {hours} + 1)
      AND greatest(a.created_at, a.called_at, a.accepted_at)
          > CAST(:now AS timestamptz) - make_interval(hours => {hours})))"""
"""The law's limit for a number is reached. The hours count from the latest instant known of a text,
which lies no hour after its row was made; that bound is what the index reads."""
