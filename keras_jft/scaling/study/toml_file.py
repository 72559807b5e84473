"""A TOML file whose faults are told with their line."""

import contextlib
import difflib
import re
import tomllib

from keras_jft.text_files import read_text


class TomlFile:
    """The tables of a TOML file, and where their keys are.

    Args:
        path: The file.
        text: Its text, if it is not written yet.

    Attributes:
        table: What the file holds, a dict.

    Raises:
        ValueError: There is no such file, or it is not TOML; with the line.
    """

    def __init__(self, path, text=None):
        self.path = str(path)
        self._text = read_text(path) if text is None else text
        try:
            self.table = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{self.path!r} is not TOML: {error}.") from None

    def where(self, *keys):
        """Return the file and the line of a key, as errors call it.

        Args:
            *keys: Names of tables and, at last, of the key. If the last ones
                are not there, the line is that of the table around them.
        """
        for count in range(len(keys), 0, -1):
            line = self._line_of(keys[:count])
            if line is not None:
                return f"{self.path!r}, line {line}"
        return repr(self.path)

    def _line_of(self, keys):
        """Return the first line such that the file up to it has the key."""
        lines = self._text.splitlines(keepends=True)
        start = 1  # Of a value that goes over several lines.
        for number in range(1, len(lines) + 1):
            try:
                found = tomllib.loads("".join(lines[:number]))
            except tomllib.TOMLDecodeError:
                continue
            for key in keys:
                found = found.get(key) if isinstance(found, dict) else None
            if found is not None:
                return start
            start = number + 1
        return None

    def check_keys(self, known, *keys):
        """Raise `ValueError` unless a table has only known keys.

        Args:
            known: The keys it may have.
            *keys: Names of the tables that lead to it.
        """
        table = self.table
        for key in keys:
            table = table[key]
        if not isinstance(table, dict):
            raise ValueError(
                f"{self.where(*keys)}: expected a table, "
                f"[{'.'.join(keys)}]. Received: {table!r}."
            )
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise ValueError(
                    f"{self.where(*keys, key)}: {key!r} is not a key of "
                    f"{'.'.join(keys) or 'a study'}, which may have "
                    f"{sorted(known)}.{hint}"
                )

    @contextlib.contextmanager
    def located(self, *keys):
        """Tell the line of the key that an error inside is about.

        Args:
            *keys: Names of tables that lead to one that errors are about, or
                to a single key.
        """
        try:
            yield
        except ValueError as error:
            table = self.table
            for key in keys:
                table = table[key]
            if isinstance(table, dict):
                named = re.findall(r"`(\w+)`", str(error))
                keys += tuple([n for n in named if n in table][:1])
            raise ValueError(f"{self.where(*keys)}: {error}") from error
