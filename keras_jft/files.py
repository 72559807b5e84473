"""Which files beside a user's own are those of tools."""

# What notebooks, photo viewers, disks and archives leave beside images, in
# small letters; besides all names that begin with a dot.
TOOL_NAMES = frozenset(
    (
        "__macosx",
        "@eadir",
        "@recently-snapshot",
        "@recycle",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "desktop.ini",
        "ehthumbs.db",
        "lost+found",
        "system volume information",
        "thumbs.db",
    )
)


def is_tool_name(name):
    """Whether a file or folder of this name is hidden, or a tool's own.

    Args:
        name: Without the folders it lies in.

    Example:

    >>> is_tool_name(".ipynb_checkpoints"), is_tool_name("@eaDir")
    (True, True)
    >>> is_tool_name("@cat"), is_tool_name("thumbs.jpg")
    (False, False)
    """
    return name.startswith(".") or name.lower() in TOOL_NAMES
