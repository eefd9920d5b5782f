"""What a job says about the files it backs up."""

from attrs import frozen


@frozen
class FilesSettings:
    """Sources and what to leave out of them; how patterns are read is said in `patterns`.

    A source itself is always kept, whatever the patterns say; they decide about what is below it.
    """

    roots: tuple[bytes, ...] = ()
    """Absolute paths to back up; one inside another is backed up with that one."""
    excludes: tuple[str, ...] = ()
    """Patterns of what to leave out; one that begins with ``!`` takes back what others said."""
    iexcludes: tuple[str, ...] = ()
    """The same without regard to upper and lower case; they come after `excludes`."""
    exclude_files: tuple[bytes, ...] = ()
    """Files with one pattern per line, read when the scanner is opened; after `iexcludes`."""
    includes: tuple[str, ...] = ()
    """Patterns of what to keep nonetheless; they come last and so win, but nothing below a
    directory that is left out can be kept."""
    exclude_if_present: tuple[bytes, ...] = ()
    """Of a directory that holds one of these names only that one is kept."""
    exclude_caches: bool = False
    """Of a directory with a true ``CACHEDIR.TAG`` only the tag is kept."""
    one_file_system: bool = False
    """Keep directories that another file system is mounted on, but not what is on it."""
    exclude_larger_than_bytes: int | None = None
    """Leave out regular files that are longer; None keeps all."""
    skip_folders: tuple[bytes, ...] = ()
    """Absolute paths of directories that are kept without their contents, by whatever way they are
    reached."""
