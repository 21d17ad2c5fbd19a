"""What a request must be before anything is done for it, and what it may cost."""
