"""The business: one package per subject, none of which knows HTTP or the job transport."""
