"""Operators written another way in front of the TFLite converter, which lacks them, or whose own forms are wrong.

A form takes the operator and its inputs, and gives what stands for its outputs, or None where it does not apply: to
this dtype, or to a size that is not known.
"""

from __future__ import annotations

from collections.abc import Mapping

from rnnexport.targets.tflite.forms.bits import BITS
from rnnexport.targets.tflite.forms.einsum import EINSUM
from rnnexport.targets.tflite.forms.form import Form
from rnnexport.targets.tflite.forms.functions import FUNCTIONS
from rnnexport.targets.tflite.forms.orders import ORDERS
from rnnexport.targets.tflite.forms.parts import PARTS
from rnnexport.targets.tflite.forms.pictures import PICTURES

FORMS: Mapping[str, Form] = {**BITS, **EINSUM, **FUNCTIONS, **ORDERS, **PARTS, **PICTURES}
