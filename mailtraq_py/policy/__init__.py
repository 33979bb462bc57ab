"""
Who may do what: facts in, verdict out.

values, chain, firewall, addresslist, access, relay, recentlogin, senders, recipient, helo, proof.
"""
