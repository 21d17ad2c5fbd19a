"""HTTP/1.1 on both sides, with deadlines and caps on everything that another host may do slowly or without end.

    server.py      listens; caps, one timer for all deadlines, a clean stop
    connection.py  one client's connection: requests in, answers out, in order
    request.py     a request, and an answer in one piece
    client.py      asks other hosts, over connections that are kept and used again
    peer.py        one connection to another host, and the answer that comes over it
    head.py        header names and values, and the bytes of a head
    loop.py        uvloop where it is installed, else asyncio's own loop

Bytes are parsed by llhttp (httptools). What two parsers could read differently is refused before llhttp sees it.
"""
