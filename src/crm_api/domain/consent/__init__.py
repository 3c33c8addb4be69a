"""Who may get messages: flags on numbers, and the append-only history of decisions."""
