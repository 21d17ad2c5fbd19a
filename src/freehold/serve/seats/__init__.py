"""Students at work, each in threads of its own."""
