"""`create_api_key` and `rotate_keys`."""
