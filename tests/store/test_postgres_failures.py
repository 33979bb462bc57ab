"""
What a PostgreSQL server does to its clients: it ends connections, is away, thinks for too long, is too old; and what
the store makes of it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from unittest.mock import patch

import psycopg
from twisted.internet import reactor, task
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.failures import StorageFull, TemporaryFailure
from mailtraq_py.store.migrate import StoreRefused
from mailtraq_py.store.now import run_now
from mailtraq_py.store.postgres import transactions
from mailtraq_py.store.postgres.address import parse_address
from mailtraq_py.store.postgres.dialect import failure, schema, statement
from mailtraq_py.store.postgres.link import Link, check_server, connect
from mailtraq_py.store.store import Store
from tests.postgres import NAME, USER, cluster, fresh

from .contract import NOW, StoreCase, message

_END_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mailtraq'"


def _lose_answers(link_class: type[Link], count: int, before: bool):
    """Lose the connection at the next COMMITs, before they are sent or when they are done."""
    left = [count]
    execute = link_class.execute

    def losing(self, query, *arguments, **options):
        if query == b"COMMIT" and left[0]:
            left[0] -= 1
            if before:
                self.pgconn.finish()
            else:
                execute(self, query)
            self.pgconn.finish()
            raise psycopg.OperationalError("the connection is lost")
        return execute(self, query, *arguments, **options)

    return patch.object(link_class, "execute", losing)


class LostTests(StoreCase):
    """Connections that end."""

    def make_store(self, data_dir: str) -> Store:
        """A server's."""
        return Store(fresh(), data_dir, reactor, self.clock)

    async def messages(self) -> int:
        """How many there are in INBOX."""
        return (await self.boxes.status("INBOX")).messages

    async def test_an_answer_that_is_lost(self) -> None:
        """A commit that was done is known to be done; nothing is done twice."""
        with _lose_answers(Link, 1, before=False):
            self.assertEqual(await self.deliver(message()), 1)
        self.assertEqual(await self.messages(), 1)

    async def test_a_commit_that_is_lost(self) -> None:
        """A commit that was not done is known not to be, and is made."""
        with _lose_answers(Link, 1, before=True):
            self.assertEqual(await self.deliver(message()), 1)
        self.assertEqual(await self.messages(), 1)

    async def test_connections_that_are_ended(self) -> None:
        """Writers go on with others; the reactor's comes again soon, and until then reads fail for now."""
        await self.deliver(message())
        cluster().execute(_END_ALL)
        self.assertEqual(await self.deliver(message()), 2)
        with self.assertRaises(TemporaryFailure):
            self.store.database.read("count_contents")
        for _ in range(100):
            await task.deferLater(reactor, 0.02)
            try:
                self.assertEqual(self.store.database.read("count_contents"), 2)
                return
            except TemporaryFailure:
                pass
        self.fail("no connection came")

    async def test_the_bell_is_hung_again(self) -> None:
        """Others are heard at once again a little after the connection for it was lost."""
        bells = self.store.database
        for _ in range(100):
            if bells._bell is not None:
                break
            await task.deferLater(reactor, 0.02)
        lost = bells._bell
        cluster().execute(_END_ALL)
        for _ in range(100):
            await task.deferLater(reactor, 0.02)
            if bells._bell not in (None, lost):
                return
        self.fail("no bell")

    async def test_transactions_in_each_others_way(self) -> None:
        """What is ended for another one's sake is run again, and after so many times given up for now."""
        with patch.object(transactions, "_PAUSE_SECONDS", 0.0001):
            for times, expected in ((3, None), (99, TemporaryFailure)):
                left = [times]

                def colliding(name: bytes, left: list[int] = left) -> str:
                    left[0] -= 1
                    if left[0] >= 0:
                        raise psycopg.errors.SerializationFailure("collision")
                    return "BEGIN"

                with patch.object(transactions, "begin", colliding):
                    if expected is None:
                        await self.deliver(message())
                    else:
                        await self.assert_raises(expected, self.deliver(message()))
        self.assertEqual(await self.messages(), 1)

    async def test_a_damaged_database(self) -> None:
        """After it found itself damaged nothing is written until a restart."""
        damaged = patch.object(transactions, "begin", side_effect=psycopg.errors.DataCorrupted("a page"))
        with damaged:
            await self.assert_raises(TemporaryFailure, self.deliver(message()))
        self.assertFalse(self.store.is_healthy)
        await self.assert_raises(TemporaryFailure, self.deliver(message()))

    async def test_the_clock_is_the_databases(self) -> None:
        """A host whose clock is a minute behind goes by the database's, for leases, grants and revocations alike."""
        self.assertEqual(self.store.clock(), NOW)
        behind = time.time() - 60
        with patch("mailtraq_py.store.postgres.database.time.time", lambda: behind):
            await self.store.database.keep_up()
        self.assertEqual(round(self.store.clock() - NOW), 60)

    async def test_nul_in_a_text(self) -> None:
        """NUL is no character of PostgreSQL's: mail that has one is kept, and a login that has one is nobody's."""
        await self.deliver(message("a\0b"))
        self.assertEqual(await self.messages(), 1)
        self.assertIsNone(await self.store.directory.verify_password("alice\0@example.test", b"x", "192.0.2.1"))


class ServerTests(SynchronousTestCase):
    """Servers and databases that will do, or will not."""

    def open(self, url: str) -> None:
        """Open a store and close it."""
        with tempfile.TemporaryDirectory() as folder:
            store = Store(url, folder)
            try:
                run_now(store.start())
            finally:
                run_now(store.close())

    def refusal(self, url: str) -> str:
        """Why a URL's store is refused."""
        return str(self.assertRaises(StoreRefused, self.open, url))

    def database(self, options: str = "") -> str:
        """An empty database's name."""
        name = cluster().create(options)
        self.addCleanup(cluster().drop, name)
        return name

    def test_away(self) -> None:
        """A server or database that is not there is said in one line, without the password."""
        said = self.refusal("postgresql://mail:geheim@127.0.0.1:1/mail")
        self.assertIn("Connection refused", said)
        self.assertNotIn("\n", said)
        self.assertNotIn("geheim", said)
        self.assertIn('"nobodys"', self.refusal(cluster().url("nobodys")))

    def test_urls(self) -> None:
        """A password is in no repr; what libpq does not understand is not repeated; a service is taken as it is."""
        address = parse_address("postgresql://mail:geheim@db.example/mail?sslmode=require")
        self.assertNotIn("geheim", repr(address))
        self.assertIn("geheim", address.conninfo)
        self.assertEqual(address.shown, "postgresql:user=mail host=db.example dbname=mail")
        self.assertEqual(parse_address("postgresql:service=mail").shown, "postgresql:service=mail")
        for wrong in ("postgresql://mail:ge%zzheim@db/mail", "postgresql:geheim"):
            self.assertNotIn("heim", str(self.assertRaises(StoreRefused, parse_address, wrong)))

    def test_what_the_environment_says(self) -> None:
        """What a URL does not say comes from libpq's environment."""
        fresh()
        with patch.dict(os.environ, {"PGHOST": str(cluster().folder), "PGUSER": USER, "PGDATABASE": NAME}):
            self.open("postgresql:")

    def test_no_driver(self) -> None:
        """Without psycopg the extra is named."""
        loaded = [name for name in sys.modules if name.startswith("mailtraq_py.store.postgres")]
        with patch.dict(sys.modules, {"psycopg": None}):
            for name in loaded:
                del sys.modules[name]
            self.assertIn("pip install 'mailtraq_py[postgres]'", self.refusal("postgresql:"))

    def test_encoding(self) -> None:
        """A database that does not keep UTF-8 is refused, with what to do."""
        name = self.database("ENCODING 'LATIN1' LOCALE 'C'")
        self.assertIn("createdb --encoding=UTF8", self.refusal(cluster().url(name)))

    def test_version(self) -> None:
        """An older server is refused."""
        link = connect(parse_address(cluster().url()))
        self.addCleanup(link.close)
        with patch("mailtraq_py.store.postgres.link.VERSION_FLOOR", 99):
            self.assertIn("too old", str(self.assertRaises(StoreRefused, check_server, link)))
        self.assertIn("fsync = off", check_server(link)[0])

    def test_foreign_and_newer(self) -> None:
        """Another program's tables are left alone; a newer program's store is refused, and says whose it is."""
        name = self.database()
        cluster().execute("CREATE TABLE theirs (x int)", name)
        self.assertIn("not of this program", self.refusal(cluster().url(name)))
        self.assertEqual(len(cluster().execute("SELECT 1 FROM pg_tables WHERE schemaname = 'public'", name)), 1)
        fresh()
        (before,) = cluster().execute("SELECT value FROM properties WHERE name = 'schema recent'", NAME)
        self.addCleanup(
            cluster().execute, f"UPDATE properties SET value = '{before[0]}' WHERE name = 'schema recent'", NAME
        )
        cluster().execute("UPDATE properties SET value = '99' WHERE name = 'schema recent'", NAME)
        self.assertIn("has schema 99 of version", self.refusal(cluster().url(NAME)))

    def test_two_that_start_at_once(self) -> None:
        """One makes the schema, the others wait and find it."""
        url = cluster().url(self.database())
        wrong: list[Exception] = []

        def start() -> None:
            try:
                self.open(url)
            except Exception as error:  # noqa: BLE001 - the test tells it
                wrong.append(error)

        threads = [threading.Thread(target=start) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_patience(self) -> None:
        """A server that thinks for too long costs its patience once; the connection is given up."""
        link = connect(parse_address(cluster().url()))
        link.patience = 0.05
        started = time.monotonic()
        self.assertRaises(psycopg.OperationalError, link.execute, "SELECT pg_sleep(5)")
        self.assertLess(time.monotonic() - started, 2)
        self.assertTrue(link.closed)

    def test_what_errors_are(self) -> None:
        """Room and outages are the outside's, everything else is ours."""
        errors = psycopg.errors
        self.assertIsInstance(failure(errors.DiskFull()), StorageFull)
        outages = (errors.AdminShutdown, errors.QueryCanceled, errors.ReadOnlySqlTransaction, errors.TooManyConnections)
        for kind in outages:
            self.assertIsInstance(failure(kind()), TemporaryFailure)
        for ours in (errors.SyntaxError(), errors.NotNullViolation(), ValueError()):
            self.assertIs(failure(ours), ours)


class DialectTests(SynchronousTestCase):
    """Translation."""

    def test_statements(self) -> None:
        """Placeholders are numbered, functions have this engine's names."""
        numbered = "SELECT a FROM t WHERE b = $1 AND c IN ($2, $3)"
        self.assertEqual(statement("SELECT a FROM t WHERE b = ? AND c IN (?, ?)"), numbered)
        self.assertEqual(statement("instr(c.subject, ?) > 0"), "strpos(c.subject, $1) > 0")
        self.assertEqual(statement("SELECT group_concat(m.uid)"), "SELECT string_agg(CAST(m.uid AS TEXT), ',')")

    def test_schema(self) -> None:
        """Types and tables; what may be lost is not logged."""
        script = "-- REAL\nCREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT, c BLOB, d REAL) WITHOUT ROWID;"
        columns = '(a BIGINT PRIMARY KEY, b TEXT COLLATE "C", c BYTEA, d DOUBLE PRECISION) ;'
        self.assertEqual(schema("main", script).strip(), f"CREATE TABLE t {columns}")
        self.assertEqual(schema("recent", script).strip(), f"CREATE UNLOGGED TABLE t {columns}")
