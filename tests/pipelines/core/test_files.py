import pytest

from pipelines.core.errors import UserError
from pipelines.core.files import read_json, whole, write_json
from pipelines.core.run_dir import RunDir


def test_whole_or_not_at_all(tmp_path):
    target = tmp_path / "a" / "b.txt"
    with pytest.raises(ZeroDivisionError), whole(target) as aside:  # noqa: PT012
        aside.write_text("half")
        raise ZeroDivisionError
    assert list(target.parent.iterdir()) == []
    target.write_text("old")
    with whole(target) as aside:
        aside.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


def test_json_has_no_nan(tmp_path):
    write_json(tmp_path / "x.json", {"a": [float("nan"), 1.5], "b": float("inf")})
    assert read_json(tmp_path / "x.json", "x") == {"a": [None, 1.5], "b": None}
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        read_json(tmp_path / "x.json", "x")


def create(root, name):
    return RunDir.create(root, "task", name, texts={"config.yaml": "a: 1"}, values={"spec.json": {"task": "task"}})


def test_runs_never_overwrite_each_other(tmp_path):
    first = create(tmp_path, "one")
    assert first.config.read_text() == "a: 1"
    first.config.write_text("mine")
    with pytest.raises(UserError, match="never overwritten"):
        create(tmp_path, "one")
    assert first.config.read_text() == "mine"
    assert len({str(create(tmp_path, None)) for _ in range(3)}) == 3
    assert not [p for p in (tmp_path / "task").iterdir() if p.name.startswith(".")]


def test_a_run_in_use_is_locked(tmp_path):
    run = create(tmp_path, "one")
    with run.locked(), pytest.raises(UserError, match="in use"), RunDir(run.path).locked():
        pass
    with run.locked():
        pass


@pytest.mark.parametrize(("task", "message"), [("other", "run of the task 'task'"), ("task", None)])
def test_open(tmp_path, task, message):
    create(tmp_path, "one")
    if message is None:
        assert RunDir.open(tmp_path / "task" / "one", task).read_spec() == {"task": "task"}
        return
    with pytest.raises(UserError, match=message):
        RunDir.open(tmp_path / "task" / "one", task)
