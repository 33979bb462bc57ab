"""
Names and TLS: what this server asks of the world before it talks to anybody.

exchange (one question to one nameserver), resolver (cache, IResolver), tls (contexts, SNI, reload), selfsigned.
"""
