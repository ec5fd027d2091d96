import numpy as np
import pytest

from pipelines import image_classify
from pipelines.core import cli
from pipelines.data.stream import Stream
from pipelines.images import defaults
from pipelines.images.config import ImageDataConfig
from pipelines.images.load import load_images


def data_of(number, side, colour, tmp_path):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (number, side, side, 3 if colour else 1), dtype=np.uint8)
    path = tmp_path / "images.npz"
    np.savez(path, x=images, y=np.arange(number) % 2)
    return load_images(ImageDataConfig(source=str(path)), seed=0)


def resolved(data, **options):
    return defaults.resolve(cli.from_keywords(image_classify.Config, options), data)


def test_digits_keep_their_settings():
    config, lines = resolved(load_images(ImageDataConfig(), seed=0))
    assert (config.fit.batch_size, config.fit.epochs, config.optimizer.learning_rate) == (32, 30, 0.1)
    assert (config.augment.flip, config.augment.crop, config.augment.zoom, config.augment.colour) == (
        False,
        1,
        1.0,
        0.0,
    )
    assert config.data.size == 8
    assert len(lines) == 1
    assert "8 x 8 pixels" in lines[0]


def test_few_photographs(tmp_path):
    data = data_of(60, 224, True, tmp_path)
    config, lines = resolved(data)
    assert data.spec.shape == (96, 96, 3)
    assert config.fit.batch_size == 8
    assert config.fit.epochs * -(-len(data.train.labels) // 8) >= 300
    assert config.optimizer.learning_rate == pytest.approx(0.025)
    assert config.augment.flip
    assert config.augment.colour > 0
    assert any("pretrained" in line for line in lines)


def test_what_the_user_set_stays(tmp_path):
    options = {"fit.batch_size": 16, "fit.epochs": 3, "optimizer.learning_rate": 0.3, "augment.flip": False}
    config, _ = resolved(data_of(60, 64, True, tmp_path), **options)
    chosen = (config.fit.batch_size, config.fit.epochs, config.optimizer.learning_rate, config.augment.flip)
    assert chosen == (16, 3, 0.3, False)


def test_grey_images_in_three_channels_are_no_photographs():
    grey = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8).repeat(3, -1)
    assert not defaults.are_photographs(grey)


@pytest.mark.parametrize("size", [3, 8, 10, 17])
def test_no_example_is_dropped_in_an_epoch(size):
    stream = Stream(lambda i: (i,), [((), np.int64)], size, batch_size=8, seed=0, complete=True)
    for epoch in range(2):
        stream.seek(epoch)
        batches = [np.asarray(batch[0]) for batch in stream.dataset]
        assert len(batches) == stream.steps_per_epoch
        assert {len(batch) for batch in batches} == {min(8, size)}
        assert set(np.concatenate(batches)) == set(range(size))
