"""
What a session says in its own words; policy and delivery bring theirs.

RFC 5321 4.2.3, RFC 3463, RFC 3207 4, RFC 4954 6
"""

from __future__ import annotations

from mailtraq_py.mail.reply import Reply

REFUSED = Reply(550, "refused", "5.7.1")
LATER = Reply(451, "try again later", "4.7.1")
NOT_NOW = Reply(421, "try again later", "4.7.0")
NOT_HERE = Reply(554, "no mail from you here", "5.7.1")
TOO_EARLY = Reply(554, "sent before the greeting", "5.5.0")
FAILED_FOR_NOW = Reply(451, "try again later", "4.3.0")
STORAGE_FULL = Reply(452, "try again later", "4.3.1")
MAILBOX_FULL = Reply(552, "mailbox full", "5.2.2")
TOO_LARGE = Reply(552, "message too large", "5.3.4")
SENDER_OK = Reply(250, "sender accepted", "2.1.0")
RECIPIENT_OK = Reply(250, "recipient accepted", "2.1.5")
TOO_MANY_RECIPIENTS = Reply(452, "too many recipients", "4.5.3")
TOO_MANY_REFUSED = Reply(421, "too many unknown recipients", "4.7.0")
START_DATA = Reply(354, "end with <CRLF>.<CRLF>")
RESET = Reply(250, "ok", "2.0.0")
BYE = Reply(221, "closing", "2.0.0")
CANNOT_VERIFY = Reply(252, "cannot verify, but will take mail for those who are here", "2.5.2")
HELP = Reply(214, "HELO EHLO MAIL RCPT DATA RSET NOOP QUIT HELP VRFY EXPN STARTTLS AUTH", "2.0.0")
START_TLS = Reply(220, "go ahead", "2.0.0")
TLS_IS_UP = Reply(503, "TLS is up already", "5.5.1")
NO_TLS = Reply(502, "not offered", "5.5.1")
TLS_BROKEN = Reply(454, "TLS not available now", "4.7.0")
TIMED_OUT = Reply(421, "time-out", "4.4.2")
REVOKED = Reply(421, "your account was changed, log in again", "4.7.0")
STOPPING = Reply(421, "the server stops, try again later", "4.3.2")
