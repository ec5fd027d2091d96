"""A training that ends in the middle, as one that is killed does."""

import keras


class Interrupted(Exception):
    pass


class StopAfter(keras.callbacks.Callback):
    """Raises after so many steps."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise Interrupted
