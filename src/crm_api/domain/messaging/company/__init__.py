"""The company's settings: its name, test numbers, daily budgets of carriers and office hours."""
