"""Calls that go up, and what may leave the house with them."""
