"""The trees of functions, from their own lines."""

from __future__ import annotations

import ast

from read_loops import function_of

from trax.lint.trees import function_tree, has_yield, key_of, keyword_tree, scope_nodes


def test_a_tree_has_the_lines_of_its_file() -> None:
    """Also inside of a class, with decorators, and with statements that have no code."""
    text = """
        import functools
        class Owner:
            def method(self, state):
                text = '''a
        b'''
                state = yield text
                if False:
                    pass
        function = Owner.method
        """
    function = function_of(text)
    node = function_tree(function.__code__)
    assert node is not None
    assert node.lineno == function.__code__.co_firstlineno == 4
    assert ast.unparse(node.body[-1]).startswith("if False")
    assert any(map(has_yield, node.body))


def test_there_is_none_without_source() -> None:
    """Nor for a lambda, whose lines have more in them."""
    made: dict[str, object] = {}
    exec("def f(): pass", made)
    assert function_tree(made["f"].__code__) is None  # type: ignore[attr-defined]
    assert function_tree((lambda: 1).__code__) is None


def test_parts_of_trees() -> None:
    """Keywords of decorators, first names, and nodes without functions inside."""
    (node,) = ast.parse("@a(b=1)\ndef f():\n    c.d[0].e()\n").body
    assert isinstance(node, ast.FunctionDef)
    value = keyword_tree(node, "b")
    assert isinstance(value, ast.Constant)
    assert keyword_tree(node, "c") is None
    statement = node.body[0]
    assert isinstance(statement, ast.Expr)
    assert key_of(statement.value) == "c.d"
    assert [*scope_nodes(node)] == [node]
    assert len([*scope_nodes(statement)]) > 5
