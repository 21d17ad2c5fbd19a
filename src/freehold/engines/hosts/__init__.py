"""Several upstreams as one: which host is asked, again or instead, and what may never happen on the way.

    breaker   leave a host alone that fails          retry    one more try, and a budget for such tries
    content   what of an answer has come             deadline how long the client waits
    guard     which addresses may be connected to    secret   a key that shows nowhere
    counts    what /health and metrics say           fleet    puts it together, and is an Upstream itself
    make      the fleet that freehold.toml describes

Imports nothing until asked: the fleet needs the HTTP client.
"""
