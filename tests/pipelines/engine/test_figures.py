import numpy as np

from pipelines.engine import figures

HISTORY = {"loss": [1.0, 0.5, 0.4], "val_loss": [1.1, 0.6, 0.7], "learning_rate": [0.1, 0.1 + 1e-9, 0.1]}


def test_the_kept_epoch_is_marked_and_a_constant_rate_has_a_wide_axis():
    loss, rate = figures.learning_curves(HISTORY, 2).axes
    assert [line.get_xdata()[0] for line in loss.lines if line.get_label() == "kept: epoch 2"] == [2]
    assert len(rate.lines) == 1
    low, high = rate.get_ylim()
    assert high - low > 0.1


def test_a_flat_map_says_so():
    images = np.zeros((2, 8, 8, 1), np.uint8)
    maps = np.zeros((2, 8, 8))
    maps[1, 2, 2] = 1
    drawn = figures.explanations(images, {"Grad-CAM": maps}, ["a", "b"])
    titles = [axes.get_title() for axes in drawn.axes]
    assert titles == ["a", "Grad-CAM: flat", "b", "Grad-CAM"]
