"""Our own handlers for tf2onnx: the right value where its formula gives another, in ONNX Runtime and in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnnexport
from benchmarks.edges.artifacts import Column, run
from benchmarks.edges.cases import Case
from rnnexport.targets.registry import target_of

ONNX = Column("onnx", "onnx", 17)
NUMPY = Column("numpy", "numpy")


def outputs(column, feed, **functions):
    """What an artifact of these functions of all inputs gives, by name."""
    cases = [Case(name, "", "".join(feed), function) for name, function in functions.items()]
    found = run(column, cases, feed)
    assert {one.refused for one in found.values()} == {""}
    return {name: one.output for name, one in found.items()}


@pytest.mark.parametrize("column", [ONNX, Column("onnx", "onnx", 13), Column("onnx", "onnx", 26), NUMPY], ids=str)
def test_what_is_not_chosen_does_not_count(column):
    x = np.array([[-2.0, 100.0, np.inf], [0.5, -np.inf, 21.0]], np.float32)
    found = outputs(
        column,
        {"x": x},
        guarded=lambda x: tf.where(x > 20.0, x, tf.math.log(1.0 + tf.exp(x))),
        by_rows=lambda x: tf.compat.v1.where(tf.constant([True, False]), x, 1.0 / (x - x)),
        of_bools=lambda x: tf.where(x > 20.0, x > 50.0, x < 0.0),
        of_shorts=lambda x: tf.where(x > 20.0, tf.constant(7, tf.int16), tf.constant(-300, tf.int16)),
    )
    softplus = [[0.126928, 100.0, np.inf], [0.974077, 0.0, 21.0]]
    np.testing.assert_allclose(found["guarded"], softplus, rtol=1e-5)
    np.testing.assert_array_equal(found["by_rows"][0], x[0])
    np.testing.assert_array_equal(found["by_rows"][1], [np.inf, np.nan, np.inf])
    np.testing.assert_array_equal(found["of_bools"], [[True, True, True], [False, True, False]])
    np.testing.assert_array_equal(found["of_shorts"], [[-300, 7, 7], [-300, -300, 7]])


def test_a_condition_that_is_repeated_for_each_unit_is_broadcast():
    """But one that is repeated to more than the values that are chosen stays repeated."""
    x = np.arange(-3, 3, dtype=np.float32).reshape(2, 3)

    def repeated(x):
        return tf.where(tf.tile(x[:, :1] > -1.0, [1, 3]), x, -x)

    def grown(x):
        return tf.where(tf.tile(x[:1, :1] < 0.0, [4, 1]), x[:1], -x[:1])

    for column in (ONNX, NUMPY):
        found = outputs(column, {"x": x}, repeated=repeated, grown=grown)
        np.testing.assert_array_equal(found["repeated"], [[3, 2, 1], [0, 1, 2]])
        np.testing.assert_array_equal(found["grown"], [[-3, -2, -1]] * 4)


def test_the_mask_of_a_timestep_is_repeated_nowhere(tmp_path):
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = keras.layers.Embedding(11, 4, mask_zero=True)(ids)
    done = rnnexport.export(keras.Model(ids, keras.layers.LSTM(3)(x)), "onnx", tmp_path / "m.onnx")
    assert "Tile" not in target_of(done.path).operators(done.path)


@pytest.mark.parametrize("column", [ONNX, NUMPY], ids=str)
def test_remainders_have_the_sign_of_the_divisor_and_no_error(column):
    x = np.array([1000000.5, -7.0, 7.0, -1e30, 0.0], np.float32)
    y = np.array([3.0, 3.0, -3.0, 7.0, -2.0], np.float32)
    found = outputs(
        column,
        {"x": x, "y": y},
        mod=tf.math.floormod,
        floor=tf.math.floordiv,
        truncated=lambda x, y: tf.truncatemod(x, y),
    )
    np.testing.assert_array_equal(found["mod"], [1.5, 2.0, -2.0, int(x[3]) % 7, 0.0])
    np.testing.assert_array_equal(found["truncated"], [1.5, -1.0, 1.0, -(-int(x[3]) % 7), 0.0])
    np.testing.assert_array_equal(found["floor"][:3], [333333.0, -3.0, -3.0])


@pytest.mark.parametrize("column", [ONNX, NUMPY], ids=str)
def test_quotients_of_integers_are_rounded_down(column):
    i = np.array([7, -7, 7, -7, 6, -6, -2147483647, 2147483647], np.int32)
    j = np.array([3, 3, -3, -3, -3, 3, 2, -2147483647], np.int32)
    found = outputs(column, {"i": i, "j": j}, floor=lambda i, j: i // j, mod=lambda i, j: i % j)
    np.testing.assert_array_equal(found["floor"], [2, -3, -3, 2, -2, -2, -1073741824, -1])
    np.testing.assert_array_equal(found["mod"], [1, 2, -2, -1, 0, 0, 1, 0])


@pytest.mark.parametrize("column", [ONNX, NUMPY], ids=str)
def test_small_results_keep_their_digits(column):
    x = np.array([1e-6, -1e-6, 1e-20, -20.0, 100.0, 3e38], np.float32)
    found = outputs(column, {"x": x}, expm1=tf.math.expm1, log1p=tf.math.log1p, softplus=tf.math.softplus)
    exact = x.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_allclose(found["expm1"], np.expm1(exact).astype(np.float32), rtol=1e-6)
        np.testing.assert_allclose(found["log1p"], np.log1p(exact), rtol=1e-6)
        np.testing.assert_allclose(found["softplus"], np.logaddexp(exact, 0), rtol=1e-6)


@pytest.mark.parametrize("column", [ONNX, NUMPY], ids=str)
def test_zero_times_anything_is_zero_where_that_is_asked_for(column):
    x, y = (np.array(row, np.float32) for row in ([0.0, 0.0, 2.0, np.inf], [0.0, -1.0, 0.5, 0.0]))
    found = outputs(column, {"x": x, "y": y}, xlogy=tf.math.xlogy, xdivy=tf.math.xdivy, times=tf.math.multiply_no_nan)
    np.testing.assert_allclose(found["xlogy"], [0.0, 0.0, -1.3862944, -np.inf], rtol=1e-6)
    np.testing.assert_array_equal(found["xdivy"], [0.0, 0.0, 4.0, np.inf])
    np.testing.assert_array_equal(found["times"], [0.0, 0.0, 1.0, 0.0])


@pytest.mark.parametrize("column", [ONNX, NUMPY], ids=str)
def test_rounding_to_a_narrow_float_stays(column):
    x = np.array([1.0001, 70000.0, 1e-9, -3.0], np.float32)
    found = outputs(
        column,
        {"x": x},
        half=lambda x: tf.cast(tf.cast(x, tf.float16), tf.float32),
        brain=lambda x: tf.cast(tf.cast(x, tf.bfloat16), tf.float32),
    )
    np.testing.assert_array_equal(found["half"], [1.0, np.inf, 0.0, -3.0])
    np.testing.assert_array_equal(found["brain"][[0, 1, 3]], [1.0, 70144.0, -3.0])


@pytest.mark.parametrize("column", [ONNX, NUMPY], ids=str)
def test_a_sum_that_rounds_still_rounds(column):
    """A graph optimizer would take (x + c) - c for x."""
    x = np.array([0.3, 1.7, 2.5, -3.5, 1e-8], np.float32)
    large = 1.5 * 2.0**23
    found = outputs(column, {"x": x}, rounded=lambda x: (x + large) - large, far=lambda x: (x + 1e10) - 1e10)
    np.testing.assert_array_equal(found["rounded"], [0, 2, 2, -4, 0])
    np.testing.assert_array_equal(found["far"], np.zeros(5))


@pytest.mark.parametrize("column", [ONNX, NUMPY], ids=str)
def test_an_index_out_of_range_is_nowhere(column):
    k = np.array([[0, 2], [-1, 3]], np.int32)
    found = outputs(
        column,
        {"k": k},
        last=lambda k: tf.one_hot(k, 3),
        first=lambda k: tf.one_hot(k, 3, on_value=5, off_value=-5, axis=0),
        single=lambda k: tf.one_hot(k[1, 0] + 2, 3),
    )
    np.testing.assert_array_equal(found["last"], [[[1, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 0, 0]]])
    np.testing.assert_array_equal(found["first"], [[[5, -5], [-5, -5]], [[-5, -5], [-5, -5]], [[-5, 5], [-5, -5]]])
    np.testing.assert_array_equal(found["single"], [0, 1, 0])


@pytest.mark.parametrize("column", [ONNX, NUMPY], ids=str)
def test_angles_in_all_directions(column):
    y = np.array([1, -1, 1, -1, 0, -0.0, -0.0, np.inf, -np.inf, 2, -2, 0], np.float32)
    x = np.array([1, 1, -2, -2, -1, -1, 1, -np.inf, np.inf, 0, -0.0, 0], np.float32)
    found = outputs(column, {"y": y, "x": x}, angle=tf.math.atan2)
    np.testing.assert_allclose(found["angle"], np.arctan2(y, x), rtol=1e-6)


@pytest.mark.parametrize("column", [ONNX, NUMPY], ids=str)
def test_the_largest_of_zeros_is_the_positive_one(column):
    r = np.array([[-0.0, 0.0, -1.0], [2.0, 5.0, 5.0]], np.float32)
    found = outputs(column, {"r": r}, most=lambda r: keras.ops.argmax(r, -1), norm=lambda r: tf.norm(r, axis=-1))
    np.testing.assert_array_equal(found["most"], [1, 1])
    np.testing.assert_allclose(found["norm"], [1.0, 54**0.5], rtol=1e-6)


@pytest.mark.parametrize("column", [ONNX, NUMPY], ids=str)
def test_the_extreme_of_nothing(column):
    r, k = np.array([[1.0, -4.0], [3.0, -2.0]], np.float32), np.array([2, 2], np.int32)
    largest = float(np.finfo(np.float32).max)
    found = outputs(
        column,
        {"r": r, "k": k},
        most=lambda r, k: tf.math.unsorted_segment_max(r, k, 4),
        least=lambda r, k: tf.math.unsorted_segment_min(r, k, 4),
    )
    np.testing.assert_array_equal(found["most"][[0, 2]], [[-largest, -largest], [3.0, -2.0]])
    np.testing.assert_array_equal(found["least"][[1, 2]], [[largest, largest], [1.0, -4.0]])


@pytest.mark.parametrize("column", [Column("onnx", "onnx", 13), Column("onnx", "onnx", 18), NUMPY], ids=str)
def test_segments(column):
    """Of ids in order a segment without rows is 0, or 1; of others a row below 0 is in no segment."""
    r = np.array([[1.0, -4.0], [3.0, -2.0], [np.inf, 5.0], [-1.5, 2.0]], np.float32)
    k, j = np.array([0, 0, 2, 4], np.int32), np.array([3, -1, 0, 3], np.int32)
    found = outputs(
        column,
        {"r": r, "k": k, "j": j},
        most=lambda r, k, j: tf.math.segment_max(r, k),
        least=lambda r, k, j: tf.math.segment_min(r, k),
        mean=lambda r, k, j: tf.math.segment_mean(r, k),
        product=lambda r, k, j: tf.math.segment_prod(r, k),
        total=lambda r, k, j: tf.math.segment_sum(r, k),
        apart=lambda r, k, j: tf.math.unsorted_segment_sum(r, j, 5),
        largest=lambda r, k, j: tf.math.unsorted_segment_max(tf.cast(r[:, 1:], tf.int32), j, 4),
    )
    np.testing.assert_array_equal(found["most"], [[3, -2], [0, 0], [np.inf, 5], [0, 0], [-1.5, 2]])
    np.testing.assert_array_equal(found["least"], [[1, -4], [0, 0], [np.inf, 5], [0, 0], [-1.5, 2]])
    np.testing.assert_array_equal(found["mean"], [[2, -3], [0, 0], [np.inf, 5], [0, 0], [-1.5, 2]])
    np.testing.assert_array_equal(found["product"], [[3, 8], [1, 1], [np.inf, 5], [1, 1], [-1.5, 2]])
    np.testing.assert_array_equal(found["total"], [[4, -6], [0, 0], [np.inf, 5], [0, 0], [-1.5, 2]])
    np.testing.assert_array_equal(found["apart"], [[np.inf, 5], [0, 0], [0, 0], [-0.5, -2], [0, 0]])
    np.testing.assert_array_equal(found["largest"], [[5], [-(2**31)], [-(2**31)], [2]])


@pytest.mark.parametrize("column", [Column("onnx", "onnx", 13), Column("onnx", "onnx", 18), NUMPY], ids=str)
@pytest.mark.parametrize("kind", ["int32", "int64", "uint8", "int8"])
def test_bits(column, kind):
    ends = np.iinfo(kind)
    i = np.array([[0, 1, 6, ends.max, ends.max - 4, 77]], kind)
    j = np.array([[ends.min, 3, ends.max, 12, 1, ends.max // 3]], kind)
    found = outputs(
        column,
        {"i": i, "j": j},
        both=tf.bitwise.bitwise_and,
        either=tf.bitwise.bitwise_or,
        one=tf.bitwise.bitwise_xor,
        none=lambda i, j: tf.bitwise.invert(j),
        negative=lambda i, j: tf.bitwise.bitwise_xor(tf.bitwise.invert(i), j),
    )
    np.testing.assert_array_equal(found["both"], i & j)
    np.testing.assert_array_equal(found["either"], i | j)
    np.testing.assert_array_equal(found["one"], i ^ j)
    np.testing.assert_array_equal(found["none"], ~j)
    np.testing.assert_array_equal(found["negative"], ~i ^ j)
    assert {one.dtype for one in found.values()} == {np.dtype(kind)}


@pytest.mark.parametrize("column", [ONNX, NUMPY], ids=str)
def test_the_bits_of_an_integer_with_another_sign(column):
    i = np.array([[0, -1, 5, -(2**31)]], np.int32)
    found = outputs(column, {"i": i}, bits=lambda i: tf.bitcast(tf.bitcast(i, tf.uint32), tf.int32))
    np.testing.assert_array_equal(found["bits"], i)


@pytest.mark.parametrize("column", [Column("onnx", "onnx", 13), NUMPY], ids=str)
def test_places_among_boundaries(column):
    x = np.array([[-2.0, -1.0, 0.25, 5.0, np.inf, np.nan]], np.float32)
    boundaries = [-1.0, 0.0, 0.25, 5.5]
    row = tf.constant([boundaries], tf.float32)
    found = outputs(
        column,
        {"x": x},
        bucket=keras.layers.Discretization(boundaries),
        lower=lambda x: tf.searchsorted(row, x[:, :5]),
        upper=lambda x: tf.searchsorted(row, x[:, :5], "right", tf.int64),
    )
    np.testing.assert_array_equal(found["bucket"], [[0, 1, 3, 3, 4, 4]])
    np.testing.assert_array_equal(found["lower"], [[0, 0, 2, 3, 4]])
    np.testing.assert_array_equal(found["upper"], [[0, 1, 3, 3, 4]])


@pytest.mark.parametrize("column", [Column("onnx", "onnx", 13), NUMPY], ids=str)
def test_a_histogram_may_have_nothing_in_its_range(column):
    """Of what a mask leaves over there are 0, a size that is another one to ONNX."""

    def counted(x):
        return keras.ops.histogram(keras.ops.reshape(x, (-1,)), 4, (-2.0, 2.0))[0]

    found = outputs(column, {"x": np.float32([[-9.0, 3.0, np.inf]])}, none=counted, one=lambda x: counted(x * 0.5))
    np.testing.assert_array_equal(found["none"], [0, 0, 0, 0])
    np.testing.assert_array_equal(found["one"], [0, 0, 0, 1])


LETTERS = dict(zip("abcdef", (2, 3, 4, 5, 6, 1), strict=True))
EQUATIONS = (
    *("abc,cde->abde", "abcd,cde->abe", "aecd,abcd->acbe", "acbe,aecd->abcd", "ab,bc->ac", "ab,cb->ca", "ab,bc->ca"),
    *("abc,dc->dab", "ba,bc->abc", "a,b->ba", "abc,abc->ab", "abc,abc->", "abc,ad->abcd", "abcde,bd->ace", "abc->ca"),
    *("abd,bcd->abc", "abcd,acde->abce", "dab,dce->abec", "abc,bd->ad", "abf,fc->cab", "...ab,bc->...ac", "...a->a..."),
    *("ab,ab->ba", "abcd,efd->abcef", "aabc->abc", "abc,b->cab"),
)


@pytest.mark.parametrize("column", [Column("onnx", "onnx", 13), NUMPY], ids=str)
def test_products_by_equation(column):
    x = np.random.default_rng(3).standard_normal((1, 1440)).astype(np.float32)

    def operands(equation):
        """Of a size of its own for each letter; `...` is two of them."""
        for at, letters in enumerate(equation.partition("->")[0].replace("...", "ed").split(",")):
            shape = [LETTERS[letter] for letter in letters]
            yield x[0, at : at + int(np.prod(shape))].reshape(shape)

    def computed(equation):
        shapes = [one.shape for one in operands(equation)]
        return lambda x: tf.einsum(
            equation, *(tf.reshape(x[0, at : at + int(np.prod(s))], s) for at, s in enumerate(shapes))
        )

    found = outputs(column, {"x": x}, **{f"e{at}": computed(equation) for at, equation in enumerate(EQUATIONS)})
    for at, equation in enumerate(EQUATIONS):
        wanted = np.einsum(equation, *(one.astype(np.float64) for one in operands(equation)))
        np.testing.assert_allclose(found[f"e{at}"], wanted, rtol=1e-4, atol=1e-4, err_msg=equation)


def test_attention_is_a_few_products(tmp_path):
    """Batch and length are open; tf2onnx's own form has 95 nodes."""
    x = keras.Input((None, 6), name="x")
    h = keras.layers.GRU(8, return_sequences=True)(x)
    model = keras.Model(x, keras.layers.MultiHeadAttention(2, 4)(h, h))
    path = rnnexport.export(model, "onnx", tmp_path / "m.onnx").path
    found = target_of(path).operators(path)
    assert "Einsum" not in found
    assert sum(found.values()) < 40


@keras.saving.register_keras_serializable("tests")
class Guarded(keras.layers.Layer):
    """A cell whose gate is a guarded softplus, as people write it."""

    def __init__(self, units, **more):
        super().__init__(**more)
        self.units = self.state_size = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")

    def call(self, x, states):
        total = keras.ops.matmul(x, self.kernel) + 0.5 * states[0]
        gate = keras.ops.where(total > 20.0, total, keras.ops.log(1.0 + keras.ops.exp(total)))
        return gate, [gate]


def test_a_guard_inside_a_cell_holds_in_every_format(tmp_path):
    keras.utils.set_random_seed(4)
    x = keras.Input((3, 2), name="x")
    model = keras.Model(x, keras.layers.RNN(Guarded(4))(x), name="guarded")
    feed = {"x": np.array([[[400.0, 300.0], [-500.0, 700.0], [900.0, 100.0]]], np.float32)}
    wanted = np.asarray(model(feed["x"]))
    assert np.isfinite(wanted).all()
    for name in ("guarded.onnx", "guarded.py"):
        path = tmp_path / name
        rnnexport.export(model, "onnx" if name.endswith("onnx") else "numpy", path, verify=False)
        with target_of(path).runner(path, "cpu") as runner:
            (found,) = runner.run(feed).values()
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("column", [ONNX, NUMPY], ids=str)
def test_bits_of_floats_are_kept(column):
    x = np.float32([[0.0, -0.0, 1.0, -1.5, 3.4e38, 1.2e-38, 1e-40, -1e-45, np.inf, -np.inf, 0.1]])
    found = outputs(
        column,
        {"x": x},
        bits=lambda x: tf.bitcast(x, tf.int32),
        unsigned=lambda x: tf.cast(tf.bitcast(x, tf.uint32), tf.int64),
        back=lambda x: tf.bitcast(tf.bitcast(x, tf.int32), tf.float32),
        halved=lambda x: tf.bitcast(tf.bitcast(tf.abs(x), tf.int32) // 2, tf.float32),
        no_number=lambda x: tf.math.is_nan(tf.bitcast(tf.bitcast(x - x, tf.int32), tf.float32)),
    )
    np.testing.assert_array_equal(found["bits"], x.view(np.int32))
    np.testing.assert_array_equal(found["unsigned"], x.view(np.uint32))
    np.testing.assert_array_equal(found["back"].view(np.int32), x.view(np.int32))
    np.testing.assert_array_equal(found["halved"], (np.abs(x).view(np.int32) // 2).view(np.float32))
    np.testing.assert_array_equal(found["no_number"], np.isinf(x))
