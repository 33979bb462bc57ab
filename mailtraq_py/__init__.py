"""
mailtraq_py: a mail server on Twisted that receives, relays, queues, stores and serves mail over SMTP, POP3 and IMAP.

The map, from the ground up; imports go down only. `mail` holds plain values. `interfaces` holds the contracts
between rooms. `wire` turns octets into commands and back, without I/O. `policy` decides who may do what; `store`
keeps everything in one database; `net` knows DNS and TLS. `delivery` is the one door by which mail enters, `queue`
takes it out again. `servers` are the Twisted protocols that drive the cores. `app` wires it all and is what `twistd`
and the console script start. docs/house.md is the long form.
"""

__version__ = "0.1.0"
