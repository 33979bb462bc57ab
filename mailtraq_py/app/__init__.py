"""
The wiring: configuration, service, command line.

The configuration: location (where the store is), listen (addresses), tables (what a value must be), sections (every
key), tomllines (where keys stand), config (reads the file), settings and recipients (what the rooms get of it),
smarthost (its password), sample (the file that is written), judging (the proof) with hosted and nobody (whose
accounts it is about), certificates.

The server: twistd (the plugin's other half), service (start, reload, stop), machine and binding (addresses, sockets),
privileges, pidfile, logs, serving (a server at work in this process) with commons, build (who is made of what),
listeners (a session for each connection), pulse and vitals (how the process is), metrics (the same for Prometheus),
reload (what waits for a restart, list files) with listfiles, recorder (what policy decided, written down), indexing
and its process, the indexer. With several workers: supervisor, channel (what it and they say), forkserver (where they
come from), worker, writer.

The command line: cli, cli_options, cli_store, offline (the store without a reactor), cli_accounts, cli_recipients,
cli_check with certificatecheck, cli_explain with cli_resolver, both with cli_hosted, cli_firewall, cli_history,
cli_state, cli_status, cli_index, cli_deleted, cli_upkeep with cli_progress, cli_transfer with transfer and
mailfolders, cli_imap with imapsource and imapimport, cli_server with installation and trial.
"""
