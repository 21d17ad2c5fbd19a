"""Several upstreams as one: which host is asked, again or instead, and what may never happen on the way.

    breaker   leave a host alone that fails          retry    one more try, and a budget for such tries
    content   what of an answer has come             deadline how long the client waits
    guard     which addresses may be connected to    secret   a key that shows nowhere
    counts    what /health and metrics say           model    the same request under another model's name
    host      the words: a host, its answer          send     one call: the only place where bytes leave
    fleet     all hosts, as an Upstream              make     the fleet that freehold.toml describes

Imports nothing until asked: the fleet needs the HTTP client.
"""
