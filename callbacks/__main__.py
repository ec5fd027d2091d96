"""`python -m callbacks`: the callbacks by name, with what each does."""

import ast
from pathlib import Path

MODULES = (
    "checkpoint", "early_stopping", "evaluation", "lr_finder", "nan_guard", "overfit", "progress", "tensorboard",
)  # fmt: skip


def descriptions() -> dict[str, str]:
    """The first paragraph of the docstring of each callback, by name; the modules are read, not imported."""
    found = {}
    for module in MODULES:
        tree = ast.parse((Path(__file__).parent / f"{module}.py").read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("Callback") for base in node.bases):
                found[node.name] = " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
    return found


def main() -> None:
    """Prints one line a callback."""
    found = descriptions()
    width = max(map(len, found))
    for name, text in sorted(found.items()):
        print(f"{name:{width}}  {text}")


if __name__ == "__main__":
    main()
