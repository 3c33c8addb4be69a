"""The months of tables that grow for ever: made ahead, and dropped once they are archived."""
