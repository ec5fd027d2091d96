import keras
import numpy as np
import pytest

from optimizers import schedules

STEPS, WARMUP, PEAK, FINAL, POWER = 100, 20, 0.5, 0.1, 2.0


def expected(name, step):
    if step < WARMUP:
        rise = (step + 1) / (WARMUP + 1)
        return PEAK * (0.04 + 0.96 * (1 - np.cos(np.pi * rise)) / 2 if name == "one-cycle" else rise)
    p = min((step - WARMUP) / (STEPS - WARMUP), 1)
    shapes = {
        "constant": 1,
        "cosine": FINAL + (1 - FINAL) * (1 + np.cos(np.pi * p)) / 2,
        "one-cycle": FINAL + (1 - FINAL) * (1 + np.cos(np.pi * p)) / 2,
        "warmup-stable-decay": 1 if p < 0.8 else 1 - (1 - FINAL) * (p - 0.8) / 0.2,
        "polynomial": FINAL + (1 - FINAL) * (1 - p) ** POWER,
        "exponential": FINAL**p,
    }
    return PEAK * shapes[name]


@pytest.mark.backend
@pytest.mark.parametrize("name", schedules.NAMES)
def test_closed_form(name):
    schedule = schedules.get(name, peak=PEAK, steps=STEPS, warmup=WARMUP / STEPS, final=FINAL, power=POWER)
    rates = [float(schedule(step)) for step in range(STEPS + 5)]
    np.testing.assert_allclose(rates, [expected(name, s) for s in range(STEPS + 5)], rtol=2e-5)


@pytest.mark.parametrize("name", schedules.NAMES)
def test_one_cycle_rises_unless_told_otherwise_and_the_others_do_not(name):
    rates = [float(schedules.get(name, peak=PEAK, steps=STEPS, final=FINAL)(step)) for step in range(STEPS)]
    assert np.argmax(rates) == (30 if name == "one-cycle" else 0)
    assert (rates[0] < PEAK / 20) == (name == "one-cycle")
    assert float(schedules.get("one-cycle", peak=PEAK, steps=STEPS, warmup=0)(0)) == PEAK


@pytest.mark.parametrize("name", schedules.NAMES)
def test_survives_serialization(name):
    schedule = schedules.get(name, peak=PEAK, steps=STEPS, final=FINAL, power=POWER)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert again.get_config() == schedule.get_config()


@pytest.mark.parametrize(
    "options",
    [
        {"name": "cosin"},
        {"peak": 0},
        {"steps": 0},
        {"final": 2},
        {"name": "exponential", "final": 0},
        {"warmup": 2},
        {"power": 0},
    ],
)
def test_bad_arguments(options):
    with pytest.raises(ValueError, match="schedule"):
        schedules.get(**{"name": "cosine", "peak": 1.0, "steps": 10, **options})
