"""The identity of a config, by which finished runs are recognized."""

import dataclasses
import hashlib
import json

from keras_jft.scaling.rows.rows import to_json


def config_id(config):
    """Return 16 hexadecimal digits that identify a config by its values.

    The order of the fields and the version of the package do not matter, nor
    does 1 versus 1.0. An added or removed field does, unless it is marked by
    `dataclasses.field(default=..., metadata={"added": True})`: such a field
    only counts if it differs from its default, so runs done before it was
    added keep their ids.

    Args:
        config: A dataclass, or anything else that a row may hold.

    Returns:
        The id, a string; that of a run is the `key` of its row.

    Raises:
        ValueError: If the config holds something that a row may not hold.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Config:
        ...     epochs: float
        >>> first = config_id(Config(4))
        >>> first == config_id(Config(4.0)), first == config_id(Config(5))
        (True, False)
    """
    values = _canonical(to_json(_counting(config)))
    text = json.dumps(values, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _counting(value):
    """Return the values of a config that its id depends on."""
    if isinstance(value, (list, tuple)):  # Such as transforms.
        return [_counting(item) for item in value]
    if not dataclasses.is_dataclass(value):
        return value
    fields = {f: getattr(value, f.name) for f in dataclasses.fields(value)}
    return {
        field.name: _counting(given)
        for field, given in fields.items()
        if not (field.metadata.get("added") and given == _default(field))
    }


def _default(field):
    if field.default_factory is dataclasses.MISSING:
        return field.default
    return field.default_factory()


def _canonical(value):
    """Return JSON in which equal numbers are written in the same way."""
    if isinstance(value, dict):
        return {name: _canonical(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
