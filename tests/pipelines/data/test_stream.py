import subprocess
import sys

import numpy as np
import pytest

from pipelines.data.stream import Stream, batches_by_length, epoch_order, ordered

X = np.arange(23, dtype=np.float32)


def stream(**options):
    arguments = {"batch_size": 4, "seed": 3, **options}
    return Stream(lambda i: (X[i],), [((), np.float32)], len(X), **arguments)


def epoch(source, number, step=0):
    source.seek(number, step)
    return [batch[0].numpy().tolist() for batch in source.dataset]


def test_order_depends_on_seed_and_epoch_alone():
    first, second = stream(), stream()
    epoch(second, 7)
    assert epoch(first, 1) == epoch(second, 1)
    assert epoch(first, 1) != epoch(first, 2)
    assert epoch(first, 1) != epoch(stream(seed=4), 1)


def test_an_epoch_shows_no_sample_twice():
    seen = [x for batch in epoch(stream(), 0) for x in batch]
    assert len(seen) == len(set(seen)) == 20


@pytest.mark.parametrize("step", range(6))
def test_starts_anywhere(step):
    assert epoch(stream(), 2, step) == epoch(stream(), 2)[step:]


def test_transform_gets_the_same_seed_again():
    import tensorflow as tf

    def noisy():
        return stream(transform=lambda x, seed: (x + tf.random.stateless_uniform((4,), seed),))

    whole = epoch(noisy(), 1)
    assert epoch(noisy(), 1, 3) == whole[3:]
    assert whole != epoch(noisy(), 2)


def test_oversampling_draws_as_told():
    chances = np.r_[np.full(22, 0.5 / 22), 0.5]
    order = epoch_order(23, seed=0, epoch=0, draw=20000, probabilities=chances)
    assert np.mean(order == 22) == pytest.approx(0.5, abs=0.02)


def test_ordered_shows_all_once():
    assert [b[0].numpy().tolist() for b in ordered(lambda i: (X[i],), [((), np.float32)], 23, batch_size=10)] == [
        X[:10].tolist(),
        X[10:20].tolist(),
        X[20:].tolist(),
    ]


def test_small_sets_and_bad_steps():
    assert stream(batch_size=100).steps_per_epoch == 1
    with pytest.raises(ValueError, match="step must be"):
        stream().seek(0, 6)
    with pytest.raises(ValueError, match="empty"):
        Stream(lambda i: (X[i],), [((), np.float32)], 0, batch_size=1, seed=0)


def test_batches_of_similar_length():
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    order = epoch_order(1000, seed=3, epoch=1, draw=960)
    batches = batches_by_length(order, lengths, 16, seed=3, epoch=1, pool=10)
    assert sorted(batches.ravel()) == sorted(order)
    spread = np.ptp(lengths[batches], axis=1).mean()
    assert spread < 0.25 * np.ptp(lengths[order.reshape(60, 16)], axis=1).mean()
    assert lengths[batches].mean(1).argmax() not in (0, 59)  # the batches come in random order
    np.testing.assert_array_equal(batches, batches_by_length(order, lengths, 16, seed=3, epoch=1, pool=10))
    assert (batches != batches_by_length(order, lengths, 16, seed=3, epoch=2, pool=10)).any()


def test_a_process_ends_in_the_middle_of_an_epoch():
    program = (
        "import time, numpy as np\n"
        "from pipelines.data.stream import Stream\n"
        "read = lambda i: (time.sleep(0.1), np.zeros(len(i), 'float32'))[1:]\n"
        "batches = iter(Stream(read, [((), np.float32)], 100, batch_size=2, seed=0).dataset)\n"
        "next(batches)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def test_no_epoch_waits_for_tensorflows_tuning():
    both = stream().dataset, ordered(lambda i: (X[i],), [((), np.float32)], len(X), batch_size=4)
    assert all(dataset.options().autotune.enabled is False for dataset in both)
