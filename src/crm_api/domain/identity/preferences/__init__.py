"""The personal settings of each user: preferences and saved views (named filters of lists)."""
