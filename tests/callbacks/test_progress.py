import io

import keras
import numpy as np
from rich.console import Console

from callbacks import Progress


def test_log_file_gets_one_plain_line_an_epoch():
    out = io.StringIO()
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((8, 2), "float32")
    progress = Progress(samples=4, console=Console(file=out, soft_wrap=True))
    model.fit(x, x[:, :1], batch_size=4, epochs=2, verbose=0, callbacks=[progress])
    lines = out.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert all("loss" in line and "samples/s" in line for line in lines)
    assert "\x1b" not in out.getvalue()
