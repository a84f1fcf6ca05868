"""`rebuild_memory_index`."""
