"""The arrows of the house: what each room may import, found by reading every import, lazy ones too."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLKITS = ("callbacks", "optimizers", "regularizers")
# A room may import those before it. Kinds of data stand side by side; what one of them uses of another is named below.
ORDER = ("core", "shared", "data", "engine", "kind", "task")
SHARED = ("layers", "losses", "metrics")  # pipelines/layers.py and the like
KINDS = ("detection", "images", "interactions", "pairs", "segmentation", "tables", "tags", "texts")
USES = {
    ("detection", "images"), ("pairs", "texts"), ("segmentation", "images"),
    ("tags", "texts"),
}  # fmt: skip
MOST_FILES, MOST_LINES = 20, 400


def modules():
    """Every module of the product to its file."""
    found = {}
    for top in ("pipelines", *TOOLKITS):
        for path in (ROOT / top).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name, path, known):
    """The modules of the product that a module imports, wherever in it the import stands."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in node.names}
    return {other for other in found if other in known and other != name}


def graph():
    known = modules()
    return {name: imports(name, path, known) for name, path in known.items()}


def place(name):
    """The room of a module of `pipelines` and its rank."""
    parts = name.split(".")
    room = parts[1] if len(parts) > 1 else ""
    if room in KINDS:
        return room, ORDER.index("kind")
    if room in SHARED:
        return room, ORDER.index("shared")
    return room, ORDER.index(room) if room in ORDER else ORDER.index("task")


def circle(edges):
    """Names along one circle of a graph, or none."""
    done, way = set(), []

    def visit(name):
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return None
        way.append(name)
        found = next(filter(None, map(visit, sorted(edges[name]))), None)
        way.pop()
        done.add(name)
        return found

    return next(filter(None, map(visit, sorted(edges))), None)


def forbidden(name, other):
    """Whether the arrow from one module to another goes up or sideways."""
    if name.split(".")[0] in TOOLKITS:
        return other.split(".")[0] not in TOOLKITS
    if other.split(".")[0] in TOOLKITS:
        return place(name)[0] == "core"
    if other == "pipelines":  # the names of the tasks
        return place(name)[0] == "core"
    (room, rank), (other_room, other_rank) = place(name), place(other)
    sideways = rank == other_rank == ORDER.index("kind") and room != other_room
    return other_rank > rank or (sideways and (room, other_room) not in USES)


def test_no_arrow_goes_up():
    assert [f"{name} -> {other}" for name, found in graph().items() for other in found if forbidden(name, other)] == []


def test_no_circle():
    assert circle(graph()) is None


def test_core_imports_no_keras():
    slow = ("keras", "tensorflow", "torch", "jax")
    for path in (ROOT / "pipelines" / "core").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] in slow], path


@pytest.mark.parametrize("top", ["pipelines", "tests", "benchmarks", *TOOLKITS])
def test_rooms_and_files_stay_small(top):
    # `optimizers/` and its tests have one file an algorithm: a list, which may be longer.
    lists = {ROOT / "optimizers", ROOT / "tests" / "optimizers"}
    folders = {path.parent for path in (ROOT / top).rglob("*") if path.is_file() and path.suffix != ".pyc"}
    for folder in folders - lists:
        assert len([p for p in folder.iterdir() if p.is_file() and p.suffix != ".pyc"]) <= MOST_FILES, folder
    for path in (ROOT / top).rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES, path


def test_these_checks_find_what_they_look_for():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) is None
    assert forbidden("pipelines.data.split", "pipelines.engine.fit")
    assert forbidden("pipelines.core.files", "optimizers.registry")
    assert forbidden("pipelines.texts.load", "pipelines.tags.load")
    assert forbidden("callbacks.figures", "pipelines.core.files")
    assert not forbidden("pipelines.tags.load", "pipelines.texts.vocabulary")
    assert not forbidden("pipelines.ner", "pipelines.tags.load")
