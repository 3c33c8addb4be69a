"""Small changes of Python code, and of the SQL inside it, that a test should detect."""

import ast
import difflib
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}
_OPERATORS = Path(__file__).read_bytes()
IS_SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|WHERE|EXISTS|AND|CASE)\b.*\s")
SQL: tuple[tuple[str, str], ...] = (
    (r"\bAND\b", "OR"),
    (r"\bOR\b", "AND"),
    (r"\bNOT EXISTS\b", "EXISTS"),
    (r"\bIS NOT NULL\b", "IS NULL"),
    (r"\bIS NULL\b", "IS NOT NULL"),
    (r"\bNOT IN\b", "IN"),
    (r"<=", "<"),
    (r">=", ">"),
    (r"(?<![<>=-])<(?![=>])", "<="),
    (r"(?<![<>=-])>(?![=])", ">="),
    (r"<>", "="),
    (r"\bASC\b", "DESC"),
    (r"\s+FOR (NO KEY )?UPDATE(\s+OF\s+\w+(\s*,\s*\w+)*)?(\s+SKIP LOCKED)?(?!\s+OF\b)", ""),
    (r"\bleast\(", "greatest("),
    (r"\bgreatest\(", "least("),
)


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        path: The path of the file, relative to the root of the project.
        line: Where the changed code begins.
        number: Its position among all changes of the file.
        change: Description for people.
        digest: The digest of the file and of this module. If either changes, the changes get other
            numbers, so earlier results are invalid.
    """

    path: str
    line: int
    number: int
    change: str
    digest: str

    @property
    def key(self) -> str:
        return f"{self.path}:{self.line}#{self.number} {self.digest}"


Change = tuple[ast.AST, str, Callable[[], None]]
"""A node of the syntax tree, a description, and a function that changes the node in the tree."""


def mutants_of(root: Path, path: Path) -> list[Mutant]:
    """Return every change of a file, in the order of its code."""
    source = path.read_text()
    digest = hashlib.sha256(source.encode() + _OPERATORS).hexdigest()[:12]
    return [
        Mutant(str(path.relative_to(root)), getattr(node, "lineno", 1), number, change, digest)
        for number, (node, change, _) in enumerate(_changes(ast.parse(source)))
    ]


def mutated(source: str, number: int) -> ast.Module:
    """Return the syntax tree of a source after one change. ``number`` says which change."""
    tree = ast.parse(source)
    for position, (_, _, make) in enumerate(_changes(tree)):
        if position == number:
            make()
            return ast.fix_missing_locations(tree)
    raise IndexError(number)


def diff(source: str, number: int) -> str:
    """Return the diff between the code before and after a change.

    The compared code has no comments, and each row of SQL is on its own line.
    """
    before, after = (
        ast.unparse(tree).replace("\\n", "\n").splitlines()
        for tree in (ast.parse(source), mutated(source, number))
    )
    lines = difflib.unified_diff(before, after, lineterm="", n=1)
    return "\n".join(list(lines)[2:])


def _changes(tree: ast.Module) -> Iterator[Change]:
    """Yield every change. The caller may make one change before it asks for the next one."""
    for parent, node in _nodes(tree):
        yield from _of_operators(node)
        yield from _of_constants(parent, node)
        yield from _of_statements(parent, node)


def _nodes(tree: ast.Module) -> list[tuple[ast.AST, ast.AST]]:
    """Return each node with its parent, in order, without annotations and docstrings."""
    found: list[tuple[ast.AST, ast.AST]] = []

    def visit(parent: ast.AST) -> None:
        for name, value in ast.iter_fields(parent):
            if name in {"annotation", "returns", "decorator_list", "type_params"}:
                continue
            for node in value if isinstance(value, list) else [value]:
                is_documentation = isinstance(node, ast.Expr) and isinstance(
                    node.value, ast.Constant
                )
                if isinstance(node, ast.AST) and not is_documentation:
                    found.append((parent, node))
                    visit(node)

    visit(tree)
    return found


def _of_operators(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare(ops=[operator, *_] as operators) if type(operator) in COMPARISONS:
            other = COMPARISONS[type(operator)]
            change = f"{type(operator).__name__} becomes {other.__name__}"
            yield node, change, lambda: operators.__setitem__(0, other())
        case ast.BoolOp():
            joined = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield node, f"{type(node.op).__name__} is swapped", lambda: _set(node, "op", joined)
        case ast.BinOp() if type(node.op) in ARITHMETIC:
            sign = ARITHMETIC[type(node.op)]()
            change = f"{type(node.op).__name__} becomes {type(sign).__name__}"
            yield node, change, lambda: _set(node, "op", sign)
        case ast.If() | ast.IfExp() | ast.While() if not isinstance(node.test, ast.Compare):
            negated = ast.UnaryOp(ast.Not(), node.test)
            yield node, "the condition is negated", lambda: _set(node, "test", negated)


def _of_constants(parent: ast.AST, node: ast.AST) -> Iterator[Change]:
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool):
        yield node, f"{value} becomes {not value}", lambda: _set(node, "value", not value)
    elif isinstance(value, int):
        yield node, f"{value} becomes {value + 1}", lambda: _set(node, "value", value + 1)
    elif isinstance(value, str) and IS_SQL.search(value + " ") and not _is_sentence(parent):
        for found, other in _words_of(value):
            changed = value[: found.start()] + other + value[found.end() :]
            row = value[: found.start()].count("\n") + 1
            change = f"SQL, row {row}: {found[0].strip()} becomes {other or 'nothing'}"
            yield node, change, lambda changed=changed: _set(node, "value", changed)  # type: ignore[misc]


def _words_of(sql: str) -> list[tuple[re.Match[str], str]]:
    found = [(one, other) for pattern, other in SQL for one in re.finditer(pattern, sql)]
    return sorted(found, key=lambda each: each[0].start())


def _is_sentence(parent: ast.AST) -> bool:
    """Return True if a text is an argument of an error.

    Such a text is for people, so it is no SQL.
    """
    return isinstance(parent, ast.Call) and getattr(parent.func, "id", "").endswith("Error")


def _of_statements(parent: ast.AST, node: ast.AST) -> Iterator[Change]:
    nothing = ast.Constant(None)
    match node:
        case ast.Return(value=ast.Constant(value=None)):
            # The statement already returns None.
            pass
        case ast.Return(value=ast.AST()):
            yield node, "returns None", lambda: _set(node, "value", nothing)
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield node, "the call is left out", lambda: _set(node, "value", nothing)
        case ast.Raise():
            yield node, "nothing is raised", lambda: _replace(parent, node, ast.Expr(nothing))


def _replace(parent: ast.AST, node: ast.AST, other: ast.AST) -> None:
    for _, value in ast.iter_fields(parent):
        if isinstance(value, list) and node in value:
            value[value.index(node)] = other


def _set(node: ast.AST, name: str, value: object) -> None:
    setattr(node, name, value)
