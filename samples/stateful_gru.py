"""Three stateful GRU layers and a softmax, one timestep a call (Keras 3).

The question it comes from rebuilds this model in NumPy and gets other numbers. Its update rule was the wrong way
round: Keras computes `h = z * h + (1 - z) * n`, the hand-written class `(1 - z) * h + z * n`.

The model was saved by Keras 2, whose hard_sigmoid is `clip(0.2 x + 0.5, 0, 1)`; that of Keras 3 is another function,
`relu6(x + 3) / 6`. The function below keeps the numbers of the original. So does `reset_after=False`, which was the
default then and is not now.

Run it to save its model:  python samples/stateful_gru.py FOLDER
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import ops


def keras2_hard_sigmoid(x):
    """The hard_sigmoid of Keras 1 and 2."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def with_random_weights(model, seed):
    """Distinct weights and non-zero biases, as a trained model has them."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(rng.uniform(-0.3, 0.3, weight.shape))
    return model


def stateful_gru():
    """A batch of one, one timestep of 4 features, to two class probabilities; each call goes on from the last."""
    options = {
        "units": 64,
        "stateful": True,
        "return_sequences": True,
        "reset_after": False,
        "recurrent_activation": keras2_hard_sigmoid,
    }
    x = keras.Input(batch_shape=(1, 1, 4), name="input_node")
    y = x
    for index in range(3):
        y = keras.layers.GRU(name=f"gru_layer_{index}", **options)(y)
    y = keras.layers.Dense(2, activation="softmax", name="output_node")(y)
    return with_random_weights(keras.Model(x, y), seed=4)


MODELS = {"stateful_gru": stateful_gru}

if __name__ == "__main__":
    for name, build in MODELS.items():
        build().save(Path(*sys.argv[1:]) / f"{name}.keras")
