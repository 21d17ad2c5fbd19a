"""Engines: what answers a call. Students (owned, sync, batched) and upstreams (HTTP, async), with scripted twins of both."""
