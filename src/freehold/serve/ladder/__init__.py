"""Who answers a call, and how far each student has come."""
