"""mailtraq_py/mail/aliasfile.py: alias files with what they include."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.aliasfile import AliasTable, BadAliases, parse_aliases


def parsed(**files: str) -> AliasTable:
    """The table of the file `main`, others beside it."""

    def read(name: str, named_by: str) -> tuple[str, str]:
        if name not in files:
            raise ValueError(f'there is no file "{name}"')
        return f"/etc/{name}", files[name]

    return parse_aliases("main", read)


class AliasFileTests(SynchronousTestCase):
    """Text in, a table or problems out."""

    def problems(self, **files: str) -> list[str]:
        """What is wrong with these."""
        return [str(problem) for problem in self.assertRaises(BadAliases, parsed, **files).problems]

    def test_rules(self) -> None:
        """Names with and without domain, wildcards, comments, lines that go on, quoted local parts."""
        table = parsed(
            main="# who is who\n\npostmaster: Alice@here.example\nsales@shop.example : bob@here.example,\n"
            '\t"a,b"@else.example,  Carol\ninfo-*@*.example: office@here.example\r\n'
        )
        self.assertEqual(table.find(["postmaster"], ["x.example"]), ("Alice@here.example",))
        targets = ("bob@here.example", '"a,b"@else.example', "carol")
        self.assertEqual(table.find(["sales"], ["shop.example"]), targets)
        self.assertIsNone(table.find(["sales"], ["x.example"]))
        self.assertEqual(table.find(["info-x"], ["shop.example"]), ("office@here.example",))

    def test_includes(self) -> None:
        """Rules of another file in their place, and addresses out of a file."""
        table = parsed(
            main="a: one@x.example\n:include:more\nb: late@x.example\nsupport: :include:people, eve@x.example\n",
            more="b: early@x.example\na: never@x.example\n",
            people="# us\nann@x.example, bea@x.example\ncid@x.example\n",
        )
        self.assertEqual(table.find(["a"], ["x.example"]), ("one@x.example",))
        self.assertEqual(table.find(["b"], ["x.example"]), ("early@x.example",))
        people = ("ann@x.example", "bea@x.example", "cid@x.example", "eve@x.example")
        self.assertEqual(table.find(["support"], ["x.example"]), people)

    def test_problems(self) -> None:
        """Every bad line is told with its file and number, in included files too."""
        found = self.problems(
            main="a: b@x.example\nno rule\nc:\nd: |/bin/sh\ne: /x\nf: a@@b\n:include:none\ng: :include:more\n@: x\n",
            more="ann@x.example\nnot an address\n",
        )
        self.assertEqual([problem.partition(": ")[0] for problem in found], [
            *(f"/etc/main:{number}" for number in range(2, 8)),
            "/etc/more:2",
            "/etc/main:9",
        ])
        self.assertIn("programs", found[2])

    def test_circle(self) -> None:
        """Files that include each other end in a problem, soon."""
        self.assertIn("deep", self.problems(main=":include:main\n:include:main\n")[0])

    def test_nothing_there(self) -> None:
        """A file that is not there is a problem of the file as a whole."""
        self.assertEqual(self.problems(), ['main:0: there is no file "main"'])

    def test_too_many(self) -> None:
        """So many targets and rules, and not one more."""
        self.assertIn("10000 targets", self.problems(main="a: " + "b," * 10_001)[0])
        self.assertIn("100000", self.problems(main="a: b\n" * 100_001)[0])
        self.assertIn("wildcards more than 1000", self.problems(main="a*: b\n" * 1001)[0])
