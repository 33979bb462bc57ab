"""Makes `twistd mailtraq` known to Twisted; what it starts is in mailtraq_py/app."""

from twisted.application.service import ServiceMaker

mailtraq = ServiceMaker(
    "mailtraq_py",
    "mailtraq_py.app.twistd",
    "A mail server: SMTP, POP3 and IMAP over one store.",
    "mailtraq",
)
