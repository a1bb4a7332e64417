"""ONNX Runtime and its execution providers: their names, and how each is kept to float32.

A provider is free to compute float32 in something coarser, and several do so unless they are told. What an artifact
was verified with has to be what its file says, so each is told here, and `settings` puts into words what it was told.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rnnexport.core.errors import ProviderError, UsageError

# Every execution provider that some ONNX Runtime since 1.23 knows, by its short name.
PROVIDERS: Mapping[str, str] = MappingProxyType(
    {
        "cpu": "CPUExecutionProvider",
        "cuda": "CUDAExecutionProvider",
        "tensorrt": "TensorrtExecutionProvider",
        "nv-tensorrt-rtx": "NvTensorRTRTXExecutionProvider",
        "rocm": "ROCMExecutionProvider",
        "migraphx": "MIGraphXExecutionProvider",
        "openvino": "OpenVINOExecutionProvider",
        "dnnl": "DnnlExecutionProvider",
        "coreml": "CoreMLExecutionProvider",
        "dml": "DmlExecutionProvider",
        "qnn": "QNNExecutionProvider",
        "vitisai": "VitisAIExecutionProvider",
        "cann": "CANNExecutionProvider",
        "nnapi": "NnapiExecutionProvider",
        "xnnpack": "XnnpackExecutionProvider",
        "acl": "ACLExecutionProvider",
        "armnn": "ArmNNExecutionProvider",
        "webgpu": "WebGpuExecutionProvider",
        "webnn": "WebNNExecutionProvider",
        "js": "JsExecutionProvider",
        "rknpu": "RknpuExecutionProvider",
        "vsinpu": "VSINPUExecutionProvider",
        "azure": "AzureExecutionProvider",
    }
)
# Runtimes of their own that read ONNX, see `other_runtimes`.
RUNTIMES = ("tract", "onnxruntime-node", "onnxruntime-web")
_SHORT = {full: short for short, full in PROVIDERS.items()}

# What ONNX Runtime is told, for each provider that may leave float32, or that has several devices to choose from.
_OPTIONS: Mapping[str, Mapping[str, str]] = {
    # Both are off by default; an environment variable can switch them on unless the option is given.
    "tensorrt": {"trt_fp16_enable": "0", "trt_int8_enable": "0"},
    "migraphx": {"migraphx_fp16_enable": "0", "migraphx_int8_enable": "0"},
    # Left to itself the CPU plugin computes in bfloat16 where the processor can, and AUTO would hide the device.
    "openvino": {"device_type": "CPU", "precision": "FP32"},
    # The default format, NeuralNetwork, lets CoreML narrow to float16 as it likes. An ML program has types.
    "coreml": {"ModelFormat": "MLProgram", "AllowLowPrecisionAccumulationOnGPU": "0"},
    # The default is to run a float32 model in float16 on the HTP.
    "qnn": {"enable_htp_fp16_precision": "0"},
    # The default is force_fp16.
    "cann": {"precision_mode": "must_keep_origin_dtype"},
    # Fast math computes float32 products in bfloat16.
    "acl": {"enable_fast_math": "false"},
}
# The same in words, for the report.
_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "tensorrt": {"float16": "off", "int8": "off"},
    "migraphx": {"float16": "off", "int8": "off"},
    "openvino": {"device": "CPU", "precision": "float32"},
    "coreml": {"format": "ML program", "low-precision sums": "off"},
    "qnn": {"float16": "off"},
    "cann": {"precision": "as in the file"},
    "acl": {"fast math": "off"},
}

# TF32 rounds the factors of a float32 product to 10 bits of mantissa: fast, and not what was verified.
# CUDA has an option for it, which its matrix products, convolutions and cuDNN's LSTM, GRU and RNN obey.
_TF32_OPTIONS = {"cuda": "use_tf32"}
# TensorRT has none (microsoft/onnxruntime#26029). NVIDIA's libraries read this variable when they are loaded: "0"
# forbids TF32, anything else leaves it to them.
_TF32_BY_ENVIRONMENT = ("tensorrt", "nv-tensorrt-rtx")
_TF32_VARIABLE = "NVIDIA_TF32_OVERRIDE"
_TF32_PROVIDERS = (*_TF32_OPTIONS, *_TF32_BY_ENVIRONMENT)

# Which build of ONNX Runtime has it, where there is one to install.
_BUILDS = {
    "cpu": "pip install 'rnnexport[cpu]'",
    "cuda": "pip install 'rnnexport[cuda]' in place of onnxruntime",
    "tensorrt": "pip install onnxruntime-gpu in place of onnxruntime, and TensorRT",
    "migraphx": "pip install onnxruntime-migraphx in place of onnxruntime",
    "openvino": "pip install onnxruntime-openvino in place of onnxruntime",
    "coreml": "verify on macOS, where onnxruntime has it",
    "dml": "pip install onnxruntime-directml in place of onnxruntime, on Windows",
    "qnn": "pip install onnxruntime-qnn in place of onnxruntime",
    "cann": "pip install onnxruntime-cann in place of onnxruntime",
    "webgpu": "pip install onnxruntime-webgpu in place of onnxruntime",
}


def onnxruntime_module(expected: str, todo: str) -> Any:
    """The module `onnxruntime`, which not every host has.

    Args:
        expected: what it is needed for, for the message of the error.
        todo: what to do where it is missing.

    Raises:
        ProviderError: it is not installed.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ProviderError("onnxruntime is not installed", expected, todo) from error
    return onnxruntime


def full_name(provider: str) -> str:
    """What ONNX Runtime calls the provider with that short name.

    Raises:
        UsageError: no ONNX Runtime knows it; the error lists those that one knows.
    """
    if provider not in PROVIDERS:
        raise UsageError(f"provider {provider!r}", f"one of {', '.join(PROVIDERS)}", "change --provider")
    return PROVIDERS[provider]


def short_name(full: str) -> str:
    """The short name of a provider; one that is in no table, such as a plugin's, keeps the name it has."""
    return _SHORT.get(full, full)


def has_provider(provider: str) -> bool:
    """Whether there is an ONNX Runtime on this host, with that execution provider."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return False
    return PROVIDERS.get(provider) in onnxruntime.get_available_providers()


def settings(provider: str, *, tf32: bool = False) -> Mapping[str, str]:
    """What `provider` is told that changes numbers, in words for the report, such as `{"tf32": "off"}`."""
    said = dict(_SETTINGS.get(provider, {}))
    return {"tf32": "on" if tf32 else "off"} | said if provider in _TF32_PROVIDERS else said


def execution_chain(provider: str, *, tf32: bool = False) -> list[tuple[str, dict[str, str]]]:
    """The argument `providers` of an `InferenceSession` on `provider`; the CPU takes what is left.

    Raises:
        UsageError: no ONNX Runtime knows the provider.
    """
    options = dict(_OPTIONS.get(provider, {}))
    if provider in _TF32_OPTIONS:
        options[_TF32_OPTIONS[provider]] = "1" if tf32 else "0"
    return [(full_name(provider), options)]


def prepared(provider: str, *, tf32: bool = False) -> Any:
    """The module `onnxruntime`, with all done that has to be done before a session on `provider` is opened.

    For TensorRT without TF32 that is to set NVIDIA_TF32_OVERRIDE=0 for this process and those it starts.

    Raises:
        UsageError: no ONNX Runtime knows the provider; or TF32 is wanted, and the environment forbids it.
        ProviderError: ONNX Runtime is not installed, or this build of it does not have the provider.
    """
    wanted = full_name(provider)
    ort = onnxruntime_module("ONNX Runtime", "pip install 'rnnexport[cpu]' or 'rnnexport[cuda]'")
    if wanted not in ort.get_available_providers():
        has = ", ".join(map(short_name, ort.get_available_providers()))
        raise ProviderError(
            f"no execution provider {provider} on this host (this onnxruntime {ort.__version__} has {has})",
            f"a working {wanted}",
            _BUILDS.get(provider, "use a build of ONNX Runtime that has it"),
        )
    if provider in _TF32_PROVIDERS:
        _set_tf32(provider, tf32)
        ort.preload_dlls()  # CUDA and cuDNN from wheels, where there are any
    return ort


def _set_tf32(provider: str, tf32: bool) -> None:
    if not tf32 and provider in _TF32_BY_ENVIRONMENT:
        os.environ[_TF32_VARIABLE] = "0"
    if tf32 and os.environ.get(_TF32_VARIABLE) == "0":
        raise UsageError(
            f"--tf32, and {_TF32_VARIABLE}=0, which forbids TF32 in this process",
            "one of the two",
            "unset the variable, or leave out --tf32",
        )
