"""
Who may do what: facts in, verdict out.

settings, problems (what policy is built from, what is wrong with it); firewallrule, firewall, addresslist (lists,
compiled); trust, recentlogin, waiting with patience; then the checks by stage: access, ratelimit (bans), helo,
authentication, largemessages, senders, dnsbl, recipient, mailboxlists, quota, relay with presets; chain (the
checks in order), build; then the chain asked without a connection: memoryrows, noanswers, explain, proof with
addressclasses, and whatif, which asks about what history has kept.
"""
