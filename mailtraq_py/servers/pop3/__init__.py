"""
POP3 sessions over the POP3 core.

service (what a service's sessions share), session (greeting and login), transaction (after the login), maildrop.
"""
