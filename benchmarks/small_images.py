"""Small sets of images of five kinds: image_classify with its defaults beside a linear model.

    python benchmarks/small_images.py                       # all sets, five seeds
    python benchmarks/small_images.py --sets digits photos --seeds 2
    python benchmarks/small_images.py --folder my_photos/   # one folder a class, as a further set

The linear model is logistic regression on HOG features and colour histograms; its regularization is chosen by
cross-validation on the training images. Each set is written as a folder of PNGs with train/ and test/, and read as a
user's folder is. Needs scikit-image (`pip install scikit-image`) and, for fashion, Debian's dataset-fashion-mnist.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Split = tuple[list[np.ndarray], list[str]]


def digits(seed: int) -> tuple[Split, Split]:
    """500 scans of 8 x 8 for training, the others for the test."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = [np.uint8(np.rint(image * 255 / 16)) for image in data.images]
    order = np.random.default_rng(seed).permutation(len(images))
    labels = [str(k) for k in data.target]
    return _chosen(images, labels, order[:500]), _chosen(images, labels, order[500:])


def fashion(seed: int) -> tuple[Split, Split]:
    """1,000 images of clothes of 28 x 28 for training, 1,000 for the test."""
    from pipelines.images.sources import DEBIAN_FASHION, FASHION, read_idx

    generator = np.random.default_rng(seed)
    splits = []
    for stem in ("train", "t10k"):
        images = read_idx(DEBIAN_FASHION / f"{stem}-images-idx3-ubyte.gz")
        labels = read_idx(DEBIAN_FASHION / f"{stem}-labels-idx1-ubyte.gz")
        chosen = generator.permutation(len(labels))[:1000]
        names = [FASHION[k].replace("/", " or ") for k in labels[chosen]]
        splits.append((list(images[chosen]), names))
    return splits[0], splits[1]


def photos(seed: int) -> tuple[Split, Split]:
    """Crops of 64 to 128 pixels of scikit-learn's two photographs: 40 for training, 100 for the test."""
    from sklearn.datasets import load_sample_images

    images = load_sample_images().images
    return _crops(dict(zip(("temple", "flower"), images, strict=True)), seed, train=20, test=50, sides=(64, 128))


def textures(seed: int) -> tuple[Split, Split]:
    """Grey crops of 64 pixels of brick, grass and gravel: 60 for training, 150 for the test."""
    from skimage import data

    whole = {"brick": data.brick(), "grass": data.grass(), "gravel": data.gravel()}
    return _crops(whole, seed, train=20, test=50, sides=(64, 64))


def scenes(seed: int) -> tuple[Split, Split]:
    """Small crops of five colour photographs: 150 for training, 250 for the test."""
    from skimage import data

    whole = {
        "astronaut": data.astronaut(), "cat": data.chelsea(), "coffee": data.coffee(), "rocket": data.rocket(),
        "tissue": data.immunohistochemistry(),
    }  # fmt: skip
    return _crops(whole, seed, train=30, test=50, sides=(48, 96))


SETS: dict[str, Callable[[int], tuple[Split, Split]]] = {
    "digits": digits, "fashion": fashion, "photos": photos, "textures": textures, "scenes": scenes,
}  # fmt: skip


def _chosen(images: list[np.ndarray], labels: list[str], order: np.ndarray) -> Split:
    return [images[i] for i in order], [labels[i] for i in order]


def _crops(
    whole: dict[str, np.ndarray], seed: int, *, train: int, test: int, sides: tuple[int, int]
) -> tuple[Split, Split]:
    """Crops at random places: those for training from the left 60 % of each image, those for the test from the rest."""
    generator = np.random.default_rng(seed)
    splits: list[Split] = []
    for number, first, last in ((train, 0.0, 0.6), (test, 0.6, 1.0)):
        images, labels = [], []
        for name, image in whole.items():
            region = image[:, round(first * image.shape[1]) : round(last * image.shape[1])]
            for _ in range(number):
                side = int(generator.integers(sides[0], sides[1] + 1))
                top, left = (int(generator.integers(0, n - side + 1)) for n in region.shape[:2])
                images.append(region[top : top + side, left : left + side])
                labels.append(name)
        splits.append((images, labels))
    return splits[0], splits[1]


def from_folder(folder: Path) -> Callable[[int], tuple[Split, Split]]:
    """Half of the images of a folder of class folders for training, half for the test."""

    def load(seed: int) -> tuple[Split, Split]:
        files = sorted(p for p in folder.glob("*/*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
        images = [np.asarray(Image.open(p).convert("RGB")) for p in files]
        labels = [p.parent.name for p in files]
        order = np.random.default_rng(seed).permutation(len(files))
        half = len(files) // 2
        return _chosen(images, labels, order[:half]), _chosen(images, labels, order[half:])

    return load


def features(images: list[np.ndarray]) -> np.ndarray:
    """HOG of the image at 64 pixels, and histograms of 16 bins of each channel."""
    from skimage.feature import hog

    rows = []
    for image in images:
        scaled = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR))
        axis = -1 if scaled.ndim == 3 else None
        channels = scaled.reshape(64 * 64, -1).T
        histograms = [np.histogram(c, 16, (0, 256))[0] / c.size for c in channels]
        gradients = hog(scaled, orientations=9, pixels_per_cell=(8, 8), cells_per_block=(2, 2), channel_axis=axis)
        rows.append(np.concatenate([gradients, *histograms]))
    return np.stack(rows)


def linear(train: Split, test: Split) -> float:
    """Accuracy of logistic regression."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    search = GridSearchCV(model, {"logisticregression__C": [1e-4, 1e-3, 1e-2, 1e-1, 1.0]}, cv=5)
    return float(search.fit(features(train[0]), train[1]).score(features(test[0]), test[1]))


def write(folder: Path, splits: dict[str, Split]) -> None:
    """One PNG an image, FOLDER/SPLIT/CLASS/NUMBER.png."""
    for split, (images, labels) in splits.items():
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = folder / split / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)


def ours(folder: Path, seed: int) -> tuple[float, float]:
    """Test accuracy and seconds of the default run."""
    from pipelines import image_classify

    start = time.perf_counter()
    run = image_classify.train(
        data=str(folder / "data"), **{"run.out": str(folder), "run.seed": seed, "tensorboard.enabled": False}
    )
    return float(run.metrics["test"]["metrics"]["accuracy"]["value"]), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first_seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    chosen = {name: SETS[name] for name in arguments.sets}
    if arguments.folder is not None:
        chosen = {arguments.folder.name: from_folder(arguments.folder)}
    for name, load in chosen.items():
        rows = []
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            train, test = load(seed)
            with tempfile.TemporaryDirectory() as folder:
                write(Path(folder) / "data", {"train": train, "test": test})
                accuracy, seconds = ours(Path(folder), seed)
            rows.append((accuracy, linear(train, test), seconds))
            print(f"{name} seed {seed}: ours {accuracy:.4f}, linear {rows[-1][1]:.4f}, {seconds:.0f} s", flush=True)
        means = np.mean(rows, axis=0)
        print(
            f"{name}: ours {means[0]:.4f}, linear {means[1]:.4f}, {means[2]:.0f} s a run, {len(rows)} seeds", flush=True
        )


if __name__ == "__main__":
    main()
