"""Settings of the company that sends: names, test numbers, budgets and office hours."""
