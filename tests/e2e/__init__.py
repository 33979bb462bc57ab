"""
The real `twistd` on loopback, spoken to by real clients.

server (starts ours), outside (plays the world: an SMTP sink and a name server), corpus (the messages).
"""
