"""The part of TensorFlow's SavedModel format that tells what a file is, readable without TensorFlow.

Field numbers are those of TensorFlow's `saved_model.proto`, `meta_graph.proto`, `graph.proto`, `function.proto`,
`attr_value.proto` and `saved_object_graph.proto`. Fields that are not listed are skipped over.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "rnnexport.saved_model"
_ONE, _MANY = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL, descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
_MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
_SCALARS = {
    "": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "#": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
}

# message -> (field, number, label, type): a message, "" a string, "#" a number. A map is repeated key and value.
_MESSAGES: dict[str, tuple[tuple[str, int, int, str], ...]] = {
    "SavedModel": (("meta_graphs", 2, _MANY, "MetaGraph"),),
    "MetaGraph": (
        ("meta_info", 1, _ONE, "MetaInfo"),
        ("graph", 2, _ONE, "Graph"),
        ("signatures", 5, _MANY, "SignatureEntry"),
        ("objects", 7, _ONE, "Objects"),
    ),
    "MetaInfo": (("tags", 4, _MANY, ""), ("tensorflow_version", 5, _ONE, "")),
    "Graph": (("nodes", 1, _MANY, "Node"), ("library", 2, _ONE, "Library")),
    "Node": (
        ("name", 1, _ONE, ""),
        ("op", 2, _ONE, ""),
        ("inputs", 3, _MANY, ""),
        ("attributes", 5, _MANY, "AttributeEntry"),
    ),
    "AttributeEntry": (("key", 1, _ONE, ""), ("value", 2, _ONE, "Attribute")),
    "Attribute": (
        ("list", 1, _ONE, "AttributeList"),
        ("tensor", 8, _ONE, "Constant"),
        ("function", 10, _ONE, "FunctionName"),
    ),
    "Constant": (("shape", 2, _ONE, "Shape"),),
    "Shape": (("dims", 2, _MANY, "Dim"),),
    "Dim": (("size", 1, _ONE, "#"),),
    "Variable": (("shape", 2, _ONE, "Shape"),),
    "AttributeList": (("functions", 9, _MANY, "FunctionName"),),
    "FunctionName": (("name", 1, _ONE, ""),),
    "Library": (("functions", 1, _MANY, "Function"),),
    "Function": (("declaration", 1, _ONE, "FunctionName"), ("nodes", 3, _MANY, "Node")),
    "SignatureEntry": (("key", 1, _ONE, ""), ("value", 2, _ONE, "Signature")),
    "Signature": (("inputs", 1, _MANY, "TensorEntry"), ("outputs", 2, _MANY, "TensorEntry")),
    "TensorEntry": (("key", 1, _ONE, ""), ("value", 2, _ONE, "Tensor")),
    "Tensor": (("name", 1, _ONE, ""),),
    "Objects": (("nodes", 1, _MANY, "Object"),),
    "Object": (
        ("children", 1, _MANY, "Child"),
        ("function", 6, _ONE, "SavedFunction"),
        ("variable", 7, _ONE, "Variable"),
        ("bare_function", 8, _ONE, "BareFunction"),
        ("asset", 5, _ONE, "Anything"),
        ("resource", 10, _ONE, "Anything"),
        ("savers", 11, _MANY, "Anything"),
        ("registered_saver", 16, _ONE, ""),
    ),
    "Child": (("node", 1, _ONE, "#"), ("name", 2, _ONE, "")),
    "SavedFunction": (("names", 1, _MANY, ""),),
    "BareFunction": (("name", 1, _ONE, ""),),
    "Anything": (),
}


@cache
def _saved_model_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="rnnexport/saved_model.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, label, kind in fields:
            added = message.field.add(name=field, number=number, label=label, type=_SCALARS.get(kind, _MESSAGE))
            if kind not in _SCALARS:
                added.type_name = f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.SavedModel"))


def parse_saved_model(data: bytes) -> Any:
    """The message that `saved_model.pb` holds.

    Raises:
        google.protobuf.message.DecodeError: it is damaged.
    """
    return _saved_model_class().FromString(data)
