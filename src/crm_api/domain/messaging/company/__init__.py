"""Settings of the company that sends: names, test numbers, brand and carrier budgets."""
