"""What is kept and what is left out: patterns, marks, sizes, roots, skipped folders."""

import os

import pytest

from backapp_core.codec import from_plain
from backapp_core.errors import InputError, InvalidPattern, InvalidSettings
from backapp_core.testing.trees import Item, TreeSpec, directory, symlink
from backapp_plugins.scanners.files import FilesSettings, open_files

TAG = b"Signature: 8a477f597d28d172789f06886806bc55"


def write(source, *paths):
    TreeSpec(dict.fromkeys(paths, Item())).write(source.top)


def test_settings_are_made_of_plain_data():
    plain = {
        "roots": ["/home", "/odd\\xff"],
        "excludes": ["*.tmp"],
        "exclude_larger_than_bytes": 5,
        "exclude_if_present": [".nobackup"],
        "skip_folders": ["/srv/repository"],
        "one_file_system": True,
    }
    assert from_plain(plain, FilesSettings, source="job") == FilesSettings(
        roots=(b"/home", b"/odd\xff"),
        excludes=("*.tmp",),
        exclude_larger_than_bytes=5,
        exclude_if_present=(b".nobackup",),
        skip_folders=(b"/srv/repository",),
        one_file_system=True,
    )
    with pytest.raises(InvalidSettings, match="exclude: is not known here"):
        from_plain({"exclude": ["x"]}, FilesSettings, source="job")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"roots": ()}, "name at least one path to back up"),
        ({"roots": (b"here",)}, "source 'here' is not absolute; write the whole path from '/'"),
        ({"roots": (b"",)}, "source '' is not absolute"),
        ({"roots": (b"/a/../b",)}, "source '/a/../b' holds '..'; write the path without"),
        ({"roots": (b"/a\0b",)}, r"source '/a\\x00b' holds a NUL byte"),
        ({"exclude_larger_than_bytes": -1}, "the size limit -1 is negative"),
        ({"exclude_if_present": (b"a/b",)}, "'a/b' is no file name"),
        ({"skip_folders": (b"x",)}, "folder to skip 'x' is not absolute"),
    ],
)
def test_settings_that_make_no_sense_are_refused(source, wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        source.scanner(**wrong)


def test_malformed_pattern_is_refused_before_anything_is_scanned(source):
    with pytest.raises(InvalidPattern, match=r"exclude pattern '\[x' cannot be used"):
        source.scanner(excludes=("[x",))


def test_excluded_directory_is_not_entered(source):
    write(source, b"cache/inner/file", b"kept/cache2", b"kept/cache/x")
    assert source.paths(excludes=("cache",)) == {b"kept/", b"kept/cache2"}
    assert source.paths(excludes=("cache",), includes=("file",)) == {b"kept/", b"kept/cache2"}


def test_patterns_from_the_root_of_the_file_system_speak_of_whole_paths(source):
    write(source, b"a/x", b"b/x", b"b/a/x")
    top = os.fsdecode(source.top)
    assert source.paths(excludes=(f"{top}/a/x",)) == {b"a/", b"b/", b"b/x", b"b/a/", b"b/a/x"}
    assert source.paths(excludes=(f"{top}/*/x",)) == {b"a/", b"b/", b"b/a/", b"b/a/x"}


def test_names_that_are_not_utf8_are_matched(source):
    write(source, b"\xff\xfe.tmp", b"\xff\xfe.txt", b"\xffdir/\x80")
    assert source.paths(excludes=("*.tmp", "?dir")) == {b"\xff\xfe.txt"}
    assert source.paths(excludes=("\udcff*",)) == set()


def test_root_itself_is_kept_whatever_the_patterns_say(source):
    write(source, b"top/x", b"other")
    top = os.fsdecode(source.top)
    assert source.paths(excludes=("top", "/tmp")) == {b"other"}
    assert source.paths(excludes=(top,)) == {b"top/", b"top/x", b"other"}
    assert source.paths(excludes=("other",), roots=(source.top + b"/other",)) == {b"other"}


def test_root_inside_an_excluded_directory_is_kept_with_the_way_to_it(source):
    write(source, b"cache/a/wanted/file", b"cache/a/other", b"cache/b/c", b"x.tmp", b"y.tmp")
    roots = (source.top, source.top + b"/cache/a/wanted", source.top + b"/x.tmp")
    kept = source.paths(roots=roots, excludes=("cache", "*.tmp"))
    assert kept == {b"cache/", b"cache/a/", b"cache/a/wanted/", b"cache/a/wanted/file", b"x.tmp"}
    assert source.scanner(roots=roots).roots == (source.top,)


def test_root_behind_a_link_that_is_kept_as_a_link_is_a_problem(source):
    TreeSpec({b"real/file": Item(), b"link": symlink(b"real")}).write(source.top)
    kept = source.paths(roots=(source.top, source.top + b"/link/file"))
    assert kept == {b"real/", b"real/file", b"link"}
    (problem,) = source.events.events
    assert problem.path == source.top + b"/link/file"
    assert problem.reason.endswith("/link', which is kept as a link")


def test_root_reached_through_a_link_is_walked_and_one_that_is_a_link_is_not(source):
    TreeSpec({b"real/sub/file": Item(), b"link": symlink(b"real")}).write(source.top)
    assert source.paths(roots=(source.top + b"/link/sub",)) == {
        b"link/",
        b"link/sub/",
        b"link/sub/file",
    }
    assert source.paths(roots=(source.top + b"/link",)) == {b"link"}


def test_whole_file_system_may_be_the_root(source):
    scan = source.scanner(roots=(b"/",)).scan()
    first = next(scan)
    assert (first.path, first.entry.name) == (b"/", b"/")
    names = {os.fsencode(name) for name in os.listdir("/") if not os.path.isdir("/" + name)}
    links = {os.fsencode(name) for name in os.listdir("/") if os.path.islink("/" + name)}
    assert {entry.name for entry in first.entries} >= links
    assert names <= {entry.name for entry in first.entries}
    second = next(scan)
    assert second.path.count(b"/") == 1
    assert second.path == b"/" + second.entry.name


def test_directory_with_a_cache_tag_keeps_only_the_tag(source):
    TreeSpec(
        {
            b"cache/CACHEDIR.TAG": Item(TAG + b"\n# by a test"),
            b"cache/blob": Item(),
            b"cache/below/blob": Item(),
            b"false/CACHEDIR.TAG": Item(b"Signature: something else"),
            b"false/blob": Item(),
            b"linked/CACHEDIR.TAG": symlink(b"../cache/CACHEDIR.TAG"),
            b"linked/blob": Item(),
            b"folder/CACHEDIR.TAG": directory(),
            b"plain/blob": Item(),
        }
    ).write(source.top)
    everything = source.paths()
    gone = everything - source.paths(exclude_caches=True)
    assert gone == {b"cache/blob", b"cache/below/", b"cache/below/blob"}


def test_directory_with_a_mark_keeps_only_the_mark(source):
    write(source, b"a/.nobackup", b"a/x", b"a/b/c", b"d/skip/e", b"d/f", b"g/h")
    kept = source.paths(exclude_if_present=(b".nobackup", b"skip"))
    assert kept == {b"a/", b"a/.nobackup", b"d/", b"g/", b"g/h"}


def test_root_inside_a_marked_directory_is_kept(source):
    write(source, b"a/.nobackup", b"a/x", b"a/b/c", b"a/b/.nobackup2")
    roots = (source.top, source.top + b"/a/b", source.top + b"/a/x")
    kept = source.paths(roots=roots, exclude_if_present=(b".nobackup",))
    assert kept == {b"a/", b"a/.nobackup", b"a/x", b"a/b/", b"a/b/c", b"a/b/.nobackup2"}


def test_files_over_the_limit_are_left_out_and_nothing_else(source):
    TreeSpec(
        {
            b"five": Item(b"12345"),
            b"six": Item(b"123456"),
            b"holes": Item(size_bytes=1 << 20),
            b"link": symlink(b"a target of more than five bytes"),
            b"empty": Item(),
        }
    ).write(source.top)
    assert source.paths(exclude_larger_than_bytes=5) == {b"five", b"link", b"empty"}
    assert source.paths(exclude_larger_than_bytes=0) == {b"link", b"empty"}


def test_skipped_folder_is_kept_empty_whatever_it_is_called(source):
    write(source, b"repository/data/x", b"other/y")
    link = source.top + b"-link"
    os.symlink(source.top, link)
    for way in (source.top, link, source.top + b"/."):
        kept = source.paths(skip_folders=(way + b"/repository",))
        assert kept == {b"repository/", b"other/", b"other/y"}
    kept = source.paths(skip_folders=(b"/no/such", source.top + b"/other"))
    assert kept == {b"repository/", b"repository/data/", b"repository/data/x", b"other/"}


def test_missing_root_in_the_middle_of_others_is_said_once(source):
    write(source, b"a", b"b")
    roots = [source.top + b"/" + name for name in (b"a", b"gone", b"b", b"a/below a file")]
    assert source.paths(roots=tuple(roots)) == {b"a", b"b"}
    assert sorted(source.events.problem_paths) == [roots[3], roots[1]]


def test_owners_are_named_as_this_machine_names_them(source):
    scanner = open_files(FilesSettings(roots=(source.top,)), source.surroundings)
    assert scanner.user_name(0) == "root"
    assert scanner.group_name(0) == "root"
    assert scanner.user_name(2**32 - 2) in {"", "nobody"}
