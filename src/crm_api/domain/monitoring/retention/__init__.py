"""Monthly partitions of tables that grow forever: created ahead, archived and dropped."""
