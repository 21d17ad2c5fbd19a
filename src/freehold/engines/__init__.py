"""What answers a call: students (owned, in batches) and upstreams (over HTTP), each with a true stand-in for tests."""
