"""Comparisons of texts, for fields and attributes alike."""

from collections.abc import Sequence


def word_condition(op: str, subject: str, texts: Sequence[str]) -> str:
    """Compare a text with others, whatever their capitals; accents tell letters apart.

    Both sides are made lower by the database, so that there is one way to do it.
    """
    lower = [f"lower({text})" for text in texts]
    subject = f"lower({subject})"
    if op == "in":
        return f"{subject} = ANY(ARRAY[{', '.join(lower)}])"
    if op == "contains":
        return f"strpos({subject}, {lower[0]}) > 0"
    if op == "starts_with":
        return f"starts_with({subject}, {lower[0]})"
    if op == "ends_with":
        return f"right({subject}, length({lower[0]})) = {lower[0]}"
    return f"{subject} = {lower[0]}"
