"""What errors say in Python: arguments where the command line has options."""

from __future__ import annotations

import pytest

import rnnexport
from rnnexport.core.errors import UsageError, in_a_command, in_python, in_python_words


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("give --timesteps N", "give timesteps=N"),
        ("--steps without --source", "steps= without source="),
        ("--opset 9 for onnx", "opset=9 for onnx"),
        ("give --cast float32", "give cast='float32'"),
        ("change -o", "change output="),
        ("-o m.onnx, which is an input", "output='m.onnx', which is an input"),
        ("give --source MODEL, or --batch 1", "give source=MODEL, or batch=1"),
        ("--no-verify keeps the file for study", "verify=False keeps the file for study"),
        ("--builder and --architecture", "LoadOptions.builder and LoadOptions.architecture"),
        ("--keras-api keras for m.h5", "LoadOptions(keras_api='keras') for m.h5"),
        ("give --architecture model.json", "give LoadOptions(architecture='model.json')"),
        ("give --custom-objects cells.py", "give custom_objects='cells.py'"),
        ("give --allow-unsafe and --source MODEL", "give LoadOptions(allow_unsafe=True) and source=MODEL"),
        ("use --lowering loop", "use LoweringRequest(form='loop')"),
        ("give --timesteps N, or --form rolled", "give timesteps=N, or TFLiteForm(form='rolled')"),
        ("--columns without --data", "UserData.columns without data="),
        ("--map of a, which m has not", "names= of a, which m has not"),
        ("--input-names: two tensors called a", "input_names: two tensors called a"),
        ("give --input-names x=z", "give input_names={'x': 'z'}"),
        ("--range y:0:1 for x", "ranges='y:0:1' for x"),
        ("mend Odd; --debug shows the traceback", "mend Odd; its __cause__ shows the traceback"),
        ("pre-order, a well-known file-o", "pre-order, a well-known file-o"),
        ("pip install -c constraints.txt '.[cpu]'", "pip install -c constraints.txt '.[cpu]'"),
    ],
)
def test_options_are_arguments(text, wanted):
    assert in_python(text) == wanted
    assert in_python(wanted) == wanted


def test_errors_say_them_in_python_and_options_in_a_command():
    def refused():
        with in_python_words():
            raise UsageError("--steps 0", "a number", "change --steps")

    with pytest.raises(UsageError) as told:
        refused()
    assert str(told.value) == "steps=0; expected a number; change steps="
    assert told.value.todo == "change steps="
    with pytest.raises(UsageError, match=r"^--steps 0; expected a number; change --steps$"), in_a_command():
        refused()


def test_the_functions_that_python_calls_speak_so(tmp_path):
    with pytest.raises(UsageError, match=r"^opset=9 for onnx; "):
        rnnexport.export(tmp_path / "m.keras", "onnx", tmp_path / "m.onnx", opset=9)
    with pytest.raises(UsageError, match=r"^steps= without source=; .* give source=MODEL$"):
        rnnexport.verify(tmp_path / "m.onnx", steps=3)
