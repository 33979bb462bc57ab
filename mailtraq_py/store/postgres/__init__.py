"""
The store on PostgreSQL: the same statements and schema, for several server processes on several hosts.

address (where the database is), dialect (what differs), link (one connection), schema (its steps), transactions (an
operation until it is known what came of it), database, bell (LISTEN and NOTIFY), news (what others committed).
"""
