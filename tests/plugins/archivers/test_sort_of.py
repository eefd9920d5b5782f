import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backapp_core.plugin_api import ObjectSort
from backapp_plugins.archivers import restic, targz
from backapp_plugins.archivers.targz import layout as targz_layout

ID = "ab" + "0c" * 31
RUN = targz_layout.run_name(datetime(2026, 11, 25, tzinfo=UTC), bytes(8), is_full=True)

(RESTIC,) = restic.backapp_archivers()
(TARGZ,) = targz.backapp_archivers()

NAMES = {
    "restic": {
        "config": ObjectSort.CONFIG,
        f"keys/{ID}": ObjectSort.KEY,
        f"data/ab/{ID}": ObjectSort.DATA,
        f"index/{ID}": ObjectSort.DATA,
        f"snapshots/{ID}": ObjectSort.SNAPSHOT,
        f"locks/{ID}": ObjectSort.LOCK,
    },
    "targz": {
        "backapp.json": ObjectSort.CONFIG,
        targz_layout.archive_name(RUN, is_encrypted=False): ObjectSort.DATA,
        targz_layout.archive_name(RUN, is_encrypted=True): ObjectSort.DATA,
        targz_layout.manifest_name(RUN, is_encrypted=False): ObjectSort.DATA,
        targz_layout.manifest_name(RUN, is_encrypted=True): ObjectSort.DATA,
        targz_layout.record_name(ID): ObjectSort.SNAPSHOT,
        f"locks/{'0a' * 16}.json": ObjectSort.LOCK,
    },
}
KINDS = {"restic": RESTIC, "targz": TARGZ}

every_kind = pytest.mark.parametrize("kind", [RESTIC, TARGZ], ids=lambda kind: kind.name)


@every_kind
def test_every_name_that_an_archiver_writes_has_its_sort(kind):
    assert {name: kind.sort_of(name) for name in NAMES[kind.name]} == NAMES[kind.name]


@every_kind
@pytest.mark.parametrize(
    "disguise",
    [
        lambda name: f"{name}\n",
        lambda name: f"{name}/",
        lambda name: f"/{name}",
        lambda name: f"./{name}",
        lambda name: f"../{name}",
        lambda name: f"other/{name}",
        lambda name: f"x/../{name}",
        lambda name: f"{name}\0",
        lambda name: f" {name}",
        lambda name: name.upper(),
        lambda name: name.replace("/", "%2F") + ("" if "/" in name else "%00"),
        lambda name: name.replace("/", "//") + ("" if "/" in name else "/"),
        lambda name: name.replace("/", "\\") + ("" if "/" in name else "\\"),
        lambda name: name.replace("a", "\uff41").replace("o", "\uff4f"),
        lambda name: name.replace("0", "\u0660") if "0" in name else f"{name}\u0301",
        lambda name: f"{name}0",
        lambda name: name[:-1],
        lambda name: f"{name}?versionId=1",
    ],
)
def test_a_name_in_disguise_has_none(kind, disguise):
    assert [kind.sort_of(disguise(name)) for name in NAMES[kind.name]] == [None] * len(
        NAMES[kind.name]
    )


def test_a_pack_stands_in_the_folder_that_its_name_begins_with():
    assert RESTIC.sort_of(f"data/ac/{ID}") is None
    assert RESTIC.sort_of(f"data/{ID}") is None
    assert RESTIC.sort_of(f"index/ab/{ID}") is None
    assert RESTIC.sort_of(f"keys/{ID[:-1]}g") is None


EXACT = {
    "restic": (
        r"config|(keys|snapshots|index|locks)/[0-9a-f]{64}"
        r"|data/(?P<start>[0-9a-f]{2})/(?P=start)[0-9a-f]{62}"
    ),
    "targz": (
        r"backapp\.json|snapshots/[0-9a-f]{64}\.json|locks/[0-9a-f]{32}\.json"
        r"|archives/[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}-(full|incr)\.tar\.gz(\.age)?"
        r"|manifests/[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}-(full|incr)\.jsonl\.gz(\.age)?"
    ),
}
pieces = st.lists(
    st.sampled_from(
        [
            *("config", "backapp.json", "data", "keys", "index", "snapshots", "locks", "archives"),
            *("/", "//", "..", ".", "%2F", "\\", "\0", "\n", "ab", "AB", "\u0660", ".json"),
            *(ID, ID.upper(), RUN, ".tar.gz", ".age", "manifests", ".jsonl.gz", "0a" * 16),
        ]
    )
    | st.text(max_size=3),
    max_size=7,
).map("".join)


@every_kind
@given(name=pieces)
def test_whatever_has_a_sort_is_exactly_of_the_documented_shape(kind, name):
    is_known = re.fullmatch(EXACT[kind.name], name, re.ASCII) is not None
    assert (kind.sort_of(name) is not None) == is_known
