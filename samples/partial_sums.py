"""SimpleRNN and LSTM as a cell inside `RNN`, with the weights that an article trained to add up its input (Keras 3).

One unit, activation linear. For the input 0.5 at each of 30 steps the article prints the predictions that
`PRINTED` holds, with all digits of a float32. Keras on another machine and every artifact give them to 4 units of the
last place: rounding in another order, 30 steps on, is what is left.

Run it to save its models:  python samples/partial_sums.py FOLDER
"""

import sys
from pathlib import Path

import keras
import numpy as np


def partial_sums(cell, weights):
    """`x_BT1 -> y_BT1`, one unit, with the article's weights: kernel, recurrent kernel, bias."""
    x = keras.Input((None, 1), name="x")
    model = keras.Model(x, keras.layers.RNN(cell, return_sequences=True, name="partial_sum")(x))
    model.set_weights([np.array(weight, "float32") for weight in weights])
    return model


def simple_rnn():
    """The next state and output is x W + h U + b."""
    return partial_sums(keras.layers.SimpleRNNCell(1, activation=None), ([[0.6021545]], [[1.0050855]], [0.20719269]))


def lstm():
    """Gates in the order i, f, c, o; the recurrent activation is the sigmoid."""
    return partial_sums(
        keras.layers.LSTMCell(1, activation=None),
        (
            [[0.11471224, -0.15296884, 0.82662594, -0.14256166]],
            [[0.10575113, 0.16468772, -0.05777477, 0.20210776]],
            [0.4812489, 1.6566612, 1.1815464, 0.4349145],
        ),
    )


MODELS = {"simple_rnn": simple_rnn, "lstm": lstm}

# The article's predictions, as it prints them.
PRINTED = {
    "simple_rnn": """
        0.5082699,  1.0191246,  1.5325773,  2.0486412,  2.5673294,
        3.0886555,  3.6126328,  4.1392746,  4.6685944,  5.2006063,
        5.7353234,  6.27276  ,  6.8129296,  7.3558464,  7.901524 ,
        8.449977 ,  9.00122  ,  9.555265 , 10.112128 , 10.6718235,
       11.2343645, 11.799767 , 12.368044 , 12.939212 , 13.513284 ,
       14.090276 , 14.670201 , 15.253077 , 15.838916 , 16.427734""",
    "lstm": """
        0.59412843,  1.1486205 ,  1.6723596 ,  2.1724625 ,  2.6546886 ,
        3.1237347 ,  3.5834525 ,  4.0370073 ,  4.486994  ,  4.93552   ,
        5.38427   ,  5.8345466 ,  6.2873073 ,  6.7431927 ,  7.20255   ,
        7.6654577 ,  8.131752  ,  8.601054  ,  9.072805  ,  9.546291  ,
       10.0206785 , 10.495057  , 10.968457  , 11.439891  , 11.908364  ,
       12.372919  , 12.832628  , 13.286626  , 13.734106  , 14.174344""",
}

if __name__ == "__main__":
    for name, build in MODELS.items():
        build().save(Path(*sys.argv[1:]) / f"{name}.keras")
