"""Numbers that depend on other parameters, as text: `exp(a)`, `2 * rate + 1`; parsed, never run."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from veridical.errors import TaskError

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "min": np.minimum,
    "max": np.maximum,
}
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_UNARY: dict[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_LONGEST = 200  # characters


class Expression:
    """A number, or a formula of other parameters.

    Arguments:
        text: The number, or the formula with names, numbers, + - * / **, brackets and the functions exp, log,
            sqrt, abs, min and max.

    >>> Expression("exp(a) + 1")({"a": np.array([0.0, 1.0])}).round(3)
    array([2.   , 3.718])
    >>> Expression("exp(a) + 1").names
    ('a',)

    Raises:
        TaskError: If the text is anything else.
    """

    def __init__(self, text: str | float) -> None:
        self.text = str(text)
        try:
            if len(self.text) > _LONGEST:
                raise ValueError
            self._tree = ast.parse(self.text, mode="eval").body
            self._require_known(self._tree)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise TaskError(
                f"{self.text[:_LONGEST]!r} is neither a number nor a formula of other parameters; "
                "expected names, "
                f"numbers, + - * / **, brackets and {', '.join(FUNCTIONS)}, as in 2 * exp(a)."
            ) from error
        nodes = [node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)]
        self.names = tuple(dict.fromkeys(name for name in nodes if name not in FUNCTIONS))

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """Returns its value where other parameters have these, each of shape (...)."""
        with np.errstate(all="ignore"):
            return self._value(self._tree, values)

    def _require_known(self, node: ast.expr) -> None:
        """Raises ValueError unless a node and all below it belong to the grammar."""
        match node:
            case ast.Constant() if type(node.value) in (int, float):
                return
            case ast.Name():
                return
            case ast.BinOp() if type(node.op) in _BINARY:
                below = [node.left, node.right]
            case ast.UnaryOp() if type(node.op) in _UNARY:
                below = [node.operand]
            case ast.Call() if (
                isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and not node.keywords
            ):
                below = node.args
                if len(below) != (2 if node.func.id in ("min", "max") else 1):
                    raise ValueError
            case _:
                raise ValueError
        for each in below:
            self._require_known(each)

    def _value(self, node: ast.expr, values: Mapping[str, Any]) -> Any:
        match node:
            case ast.Constant():
                return float(node.value)  # type: ignore[arg-type]
            case ast.Name():
                return np.asarray(values[node.id], dtype=float)
            case ast.BinOp():
                return _BINARY[type(node.op)](self._value(node.left, values), self._value(node.right, values))
            case ast.UnaryOp():
                return _UNARY[type(node.op)](self._value(node.operand, values))
            case ast.Call(func=ast.Name(id=name)):
                return FUNCTIONS[name](*(self._value(each, values) for each in node.args))
        raise AssertionError(ast.dump(node))
