import csv
import json
import tracemalloc

import pytest

from livephoto_core.training.preparation import folder_order
from livephoto_core.training.preparation.folder_order import files_below
from livephoto_core.training.preparation.sources import SourceConfig, iterate_sources

WEBVID_COLUMNS = ("videoid", "contentUrl", "duration", "page_dir", "name")


def write_csv(path, rows, columns=WEBVID_COLUMNS):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def test_webvid_rows_become_local_files_with_captions(tmp_path):
    rows = [
        ("12", "https://example.org/x/12.mp4", "PT10S", "000001_000050", "Waves, at the\nbeach"),
        ("7", "https://example.org/x/7.mp4", "PT9S", "000051_000100", 'A "big" dog'),
    ]
    path = write_csv(tmp_path / "results.csv", rows)
    first, second = iterate_sources(SourceConfig(path))
    assert (first.position, first.name) == (0, "000001_000050/12.mp4")
    assert first.path == tmp_path / "000001_000050" / "12.mp4"
    assert first.caption == "Waves, at the\nbeach"
    assert (second.position, second.caption) == (1, 'A "big" dog')


def test_csv_of_another_layout_is_read_with_the_options(tmp_path):
    (tmp_path / "clips").mkdir()
    path = write_csv(tmp_path / "my.csv", [("a", "b", "a caption")], ("id", "folder", "text"))
    config = SourceConfig(
        path, videos=tmp_path / "clips", video_path="{folder}/{id}.webm", caption_column="text"
    )
    [video] = iterate_sources(config)
    assert video.path == tmp_path / "clips" / "b" / "a.webm"
    assert video.caption == "a caption"


def test_row_that_is_cut_short_has_an_empty_caption_and_does_not_stop_the_rest(tmp_path):
    path = tmp_path / "results.csv"
    path.write_bytes(
        b"videoid,contentUrl,duration,page_dir,name\n1,u\n2,u,PT1S,p,caf\xe9\n3,u,PT1S,p,fine\n"
    )
    assert [video.caption for video in iterate_sources(SourceConfig(path))] == [
        "",
        "caf\ufffd",
        "fine",
    ]


def test_quotation_mark_that_is_never_closed_is_reported_with_the_line(tmp_path):
    path = write_csv(tmp_path / "results.csv", [("1", "u", "d", "p", "fine")])
    with path.open("a") as file:
        file.write('2,u,d,p,"open\n' + "3,u,d,p,text\n" * 20_000)
    with pytest.raises(ValueError, match="--source: results.csv .* after line .*never closed"):
        list(iterate_sources(SourceConfig(path)))


def test_manifest_lines_become_sources_and_broken_lines_problems(tmp_path):
    path = tmp_path / "clips.jsonl"
    lines = [
        json.dumps({"video": "a.mp4", "caption": "eins", "other": 1}),
        "",
        "{not json",
        json.dumps(["a.mp4", "x"]),
        json.dumps({"video": "b.mp4"}),
        json.dumps({"video": str(tmp_path / "elsewhere" / "c.mp4"), "caption": "drei"}),
        r'{"video": "d.mp4", "caption": "an emoji cut in half \ud83d"}',
        r'{"video": "\udc9fe.mp4", "caption": "x"}',
        r'{"video": "f.mp4", "caption": "a whole one \ud83d\udc9f"}',
    ]
    path.write_text("\n".join(lines))
    videos = list(iterate_sources(SourceConfig(path)))
    assert [video.position for video in videos] == list(range(8))
    is_good = [video.problem is None for video in videos]
    assert is_good == [True, False, False, False, True, False, False, True]
    assert videos[1].name == "clips.jsonl line 3"
    assert videos[0].path == tmp_path / "a.mp4"
    assert videos[4].path == tmp_path / "elsewhere" / "c.mp4"


def test_folder_gives_videos_at_any_depth_and_nothing_else(tmp_path):
    for name in ("b/2.mp4", "b/2.txt", "a.MOV", "b/1.webm", "note.txt", ".hidden/x.mp4", "c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    videos = list(iterate_sources(SourceConfig(tmp_path)))
    assert [video.name for video in videos] == ["a.MOV", "b/1.webm", "b/2.mp4"]
    assert [video.caption for video in videos] == [None, None, None]


@pytest.mark.parametrize("run_length", [1, 3, 10, 11])
def test_order_is_that_of_a_sort_in_memory_for_any_run_length(run_length, tmp_path, monkeypatch):
    monkeypatch.setattr(folder_order, "RUN_LENGTH", run_length)
    names = ["b", "a c", "é", "ü\nx", "a\rb", "Z", "10", "9", "a", "aa"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "a!").mkdir()
    (tmp_path / "a!" / "inner").touch()
    assert list(files_below(tmp_path)) == sorted([*names, "a!/inner"])


def test_parts_share_out_all_videos_about_evenly(tmp_path):
    path = tmp_path / "clips.jsonl"
    path.write_text("".join(f'{{"video": "{i}.mp4", "caption": "x"}}\n' for i in range(3000)))
    parts = [
        {video.position for video in iterate_sources(SourceConfig(path, part=(index, 3)))}
        for index in (1, 2, 3)
    ]
    assert set.union(*parts) == set(range(3000))
    assert sum(map(len, parts)) == 3000
    assert all(abs(len(part) - 1000) < 150 for part in parts)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "folder"])
def test_memory_does_not_grow_with_the_number_of_videos(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(folder_order, "RUN_LENGTH", 200)

    def peak(num_videos):
        folder = tmp_path / str(num_videos)
        folder.mkdir()
        source = _write_source(folder, kind, num_videos)
        tracemalloc.start()
        try:
            assert sum(1 for _ in iterate_sources(SourceConfig(source))) == num_videos
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)
    small, large = peak(1000), peak(8000)
    # A list of the names alone would take 8000 × 70 bytes.
    assert large - small < 300_000


def _write_source(folder, kind, num_videos):
    if kind == "folder":
        for i in range(num_videos):
            (folder / f"{i}.mp4").touch()
        return folder
    if kind == "csv":
        rows = ((str(i), "url", "PT9S", "page", "a caption") for i in range(num_videos))
        return write_csv(folder / "x.csv", rows)
    path = folder / "x.jsonl"
    path.write_text("".join(f'{{"video": "{i}", "caption": "c"}}\n' for i in range(num_videos)))
    return path


def test_bad_configuration_names_the_option(tmp_path):
    (tmp_path / "clips.txt").touch()
    table = write_csv(tmp_path / "x.csv", [])
    for option, arguments in {
        "--source: .* is not there": {"source": tmp_path / "nothing.csv"},
        "--source must be a folder": {"source": tmp_path / "clips.txt"},
        "--videos": {"source": table, "videos": tmp_path / "nothing"},
        "--shard-of": {"source": tmp_path, "part": (0, 2)},
        "--caption-column: .*'text'; x.csv has videoid": {
            "source": table,
            "caption_column": "text",
        },
        "--video-path: .*'file'": {"source": table, "video_path": "{file}"},
    }.items():
        with pytest.raises(ValueError, match=option):
            SourceConfig(**arguments)
