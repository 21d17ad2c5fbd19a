"""What is counted: one file a figure. Each adds calls, and adds up with another of its kind however the log was cut."""
