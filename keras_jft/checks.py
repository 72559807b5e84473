"""The error of an unknown name, said the same way everywhere."""


def one_of(argument, value, allowed):
    """Raises `ValueError` unless `value` is one of `allowed`.

    Args:
        argument: Name of the argument, for the message.
        value: What was passed.
        allowed: A collection of the values that are.
    """
    if value not in allowed:
        raise ValueError(
            f"`{argument}` must be one of {list(allowed)}. Received: {value!r}."
        )
