"""
The wiring: configuration, service, command line.

config, build, service, logs, cli.
"""
