"""
Names and TLS.

resolver, tls.
"""
