"""Texting for a foundation-repair company: campaigns out, replies and opt-outs in."""
