from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Nothing(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Blob(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("kind", "index", "head", "signature", "data", "heads")
    KIND_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    kind: int
    index: int
    head: bytes
    signature: bytes
    data: bytes
    heads: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, kind: _Optional[int] = ..., index: _Optional[int] = ..., head: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., data: _Optional[bytes] = ..., heads: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Opening(_message.Message):
    __slots__ = ("run", "order", "plan", "weights")
    RUN_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    run: bytes
    order: bytes
    plan: bytes
    weights: bytes
    def __init__(self, run: _Optional[bytes] = ..., order: _Optional[bytes] = ..., plan: _Optional[bytes] = ..., weights: _Optional[bytes] = ...) -> None: ...

class Closing(_message.Message):
    __slots__ = ("closing", "weights")
    CLOSING_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    closing: bytes
    weights: bytes
    def __init__(self, closing: _Optional[bytes] = ..., weights: _Optional[bytes] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: bytes
    def __init__(self, event: _Optional[bytes] = ...) -> None: ...

class ClosingAnswer(_message.Message):
    __slots__ = ("finished",)
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    finished: bool
    def __init__(self, finished: _Optional[bool] = ...) -> None: ...
