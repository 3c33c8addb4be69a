"""Who may be texted: flags on numbers, and the append-only history of how they came about."""
