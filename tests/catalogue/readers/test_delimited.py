"""Tables of cells against the csv module, and files whose quotes or lines are damaged."""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.recognition import recognise
from lmm4rec.catalogue.readers.rows import column_names, read_rows
from lmm4rec.errors import InputError

COMMAS = Layout(family="delimited", separator=",")
# What carries meaning in such files, and some letters.
LETTERS = st.sampled_from(list("ab7,;|\t\"\\ \n'é…🎒-.[]{}#:<&"))
CELL = st.text(LETTERS, max_size=6)


def reading(share: float = 0.0, *, truncated: bool = False) -> Reading:
    return Reading(maximum_unparsable_share=share, accept_truncated=truncated)


def written(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=8),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_quoted_cells_are_read_as_the_csv_module_writes_them(
    rows: list[list[str]], separator: str, end: str, quoting: int
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([["a", "b", "c"], *rows])
    layout = COMMAS.model_copy(update={"separator": separator})
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), text.getvalue())
        try:
            read = read_rows([path], layout, ["a", "b", "c"], reading())
        except InputError as error:
            # cells that hold what would be whole rows cannot be told from a lone quote
            assert "a cell holds whole rows" in str(error)
            return
    cells = [[cell.replace("\r\n", "\n") or None for cell in row] for row in rows]
    found = [list(row) for row in zip(*(read[n].to_pylist() for n in "abc"), strict=True)]
    assert [[c and c.replace("\r\n", "\n") for c in row] for row in found] == cells


PLAIN = st.text(st.sampled_from(list("ab7;| \"'é🎒-.#:<&\\")), max_size=6)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.lists(PLAIN, min_size=3, max_size=3), min_size=1, max_size=8),
    separator=st.sampled_from(["\t", "::"]),
)
def test_unquoted_cells_are_what_stands_between_separators(
    rows: list[list[str]], separator: str
) -> None:
    lines = [separator.join(row) for row in rows]
    # a cell that ends in a colon before :: could be cut in two ways
    rows = [line.split(separator) for line in lines if len(line.split(separator)) == 3]
    layout = COMMAS.model_copy(
        update={"separator": separator, "quoted": False, "header": False, "names": ["a", "b", "c"]}
    )
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), "\n".join([separator.join(row) for row in rows] or ["x"]))
        if not rows:
            return
        read = read_rows([path], layout, ["a", "b", "c"], reading())
    found = [list(row) for row in zip(*(read[n].to_pylist() for n in "abc"), strict=True)]
    assert found == [[cell or None for cell in row] for row in rows]


def test_ids_are_kept_as_written(tmp_path: Path) -> None:
    ids = ["007", "1e5", "9223372036854775808", "NA", "null", "nan", "True", " 5 ", "-0", "1.10"]
    path = written(tmp_path, "id,x\n" + "".join(f"{one},y\n" for one in ids))
    assert read_rows([path], COMMAS, ["id"], reading())["id"].to_pylist() == ids


def test_empty_cells_are_null_quoted_or_not(tmp_path: Path) -> None:
    path = written(tmp_path, 'a,b\n,""\n1,\n')
    read = read_rows([path], COMMAS, ["a", "b"], reading())
    assert read["a"].to_pylist() == [None, "1"]
    assert read["b"].to_pylist() == [None, None]


def test_torn_rows_are_counted_and_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b\n1,x\n2\n3,y,z\n\n4,w\n")
    counted = reading(0.5)
    read = read_rows([path], COMMAS, ["a", "b"], counted)
    assert read["a"].to_pylist() == ["1", "4"]
    assert counted.counts["unparsable_lines"] == 2
    with pytest.raises(InputError, match=r"2 of 4 lines cannot be read \(first: line 3: Expected"):
        read_rows([path], COMMAS, ["a", "b"], reading(0.4))


@pytest.mark.parametrize("n", [5, 400_000])
@pytest.mark.parametrize("is_packed", [False, True])
def test_a_quote_that_never_closes_is_refused(tmp_path: Path, n: int, is_packed: bool) -> None:
    """The engine itself loses two thirds of the larger file, and refuses a single line of it."""
    rows = b"".join(b"%d,some plain words\n" % k for k in range(n))
    content = b'id,title\n1,"Pan\n' + rows
    path = written(tmp_path, gzip.compress(content, 1) if is_packed else content)
    with pytest.raises(
        InputError, match=r"lines are lost in a cell whose quote opens and does not"
    ):
        read_rows([path], recognise(path), ["id"], reading(0.9))


def test_a_quote_that_another_closes_far_below_is_refused(tmp_path: Path) -> None:
    rows = "".join(f"{k},plain words {k},9.5\n" for k in range(100))
    text = f'id,title,price\n{rows}100,"Pan,9.5\n{rows}101,Doll 12",9.5\n{rows}'
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=r"a quote swallows 101 lines: .*double the quotes"):
        read_rows([path], recognise(path), ["id"], reading(0.9))


def test_a_quote_that_swallows_one_row_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,title\n1,a b\n2,"Pan\n3,Doll 12"\n4,c d\n')
    with pytest.raises(InputError, match=r"a quote swallows 1 lines"):
        read_rows([path], recognise(path), ["id"], reading())


def test_a_quote_before_a_quoted_cell_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,title\n1,a\n2,"Pan\n3,"Rain Jacket, Blue"\n4,c\n5,d\n')
    with pytest.raises(InputError, match=r"quote"):
        read_rows([path], recognise(path), ["id"], reading(0.9))


def test_texts_of_several_lines_are_read(tmp_path: Path) -> None:
    text = 'id,body\n1,"<p>one</p>\n\n<ul><li>two, three</li></ul>\n"\n2,"Dear all,\nyours"\n3,x\n'
    read = read_rows([path := written(tmp_path, text)], recognise(path), ["id", "body"], reading())
    assert read["id"].to_pylist() == ["1", "2", "3"]
    assert read["body"][1].as_py() == "Dear all,\nyours"


def test_a_torn_row_with_a_text_of_several_lines_is_counted(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,a,b\n1,"x\ny"\n2,u,v\n3,"p\nq",r\n')
    counted = reading(0.9)
    read = read_rows([path], COMMAS, ["id"], counted)
    assert read["id"].to_pylist() == ["2", "3"]
    assert counted.counts["unparsable_lines"] == 2  # lines, as they stand in the file


def test_quotes_inside_cells_are_letters(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,title\n1,12" pan\n2,"quoted, once"\n')
    read = read_rows([path], recognise(path), ["title"], reading())
    assert read["title"].to_pylist() == ['12" pan', "quoted, once"]


def test_zero_bytes_and_long_lines_do_not_lose_a_row_silently(tmp_path: Path) -> None:
    path = written(tmp_path, b"id,title\n1,a\0b\n2," + b"y" * (40 << 20) + b"\n3,c\n")
    counted = reading(0.5)
    read = read_rows([path], COMMAS, ["id", "title"], counted)
    assert read["id"].to_pylist() == ["1", "3"]
    assert counted.counts["unparsable_lines"] == counted.counts["overlong_lines"] == 1


def test_mixed_line_ends(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,title\r\n1,a\n2,"b\nc"\r\n3,d\re\n')
    read = read_rows([path], COMMAS, ["id", "title"], reading())
    assert read["id"].to_pylist() == ["1", "2", "3"]
    assert read["title"].to_pylist() == ["a", "b\nc", "d e"]


def test_a_packed_file_that_breaks_off(tmp_path: Path) -> None:
    rows = "".join(f"{k},{k * 7919 % 1000003}\n" for k in range(20_000)).encode()
    packed = gzip.compress(b"id,x\n" + rows)
    path = written(tmp_path, packed[: len(packed) // 2], "t.csv.gz")
    layout = recognise(path)
    with pytest.raises(InputError, match="breaks off before its end; fetch it again, or set acc"):
        read_rows([path], layout, ["id"], reading())
    counted = reading(truncated=True)
    ids = read_rows([path], layout, ["id"], counted)["id"].to_pylist()
    assert 5_000 < len(ids) < 20_000
    assert ids == [str(k) for k in range(len(ids))]
    assert counted.counts["truncated_files"] == 1


def test_names_that_look_like_patterns(tmp_path: Path) -> None:
    path = written(tmp_path, "id,x\n1,a\n", "orders[1]*?.csv")
    written(tmp_path, "id,x\n2,b\n", "orders1.csv")
    assert read_rows([path], COMMAS, ["id"], reading())["id"].to_pylist() == ["1"]


def test_several_files_and_their_numbers(tmp_path: Path) -> None:
    paths = [written(tmp_path, f"id,x\n{k},a\n", f"{k}.csv") for k in range(3)]
    read = read_rows(paths, COMMAS, ["id"], reading())
    assert read["file_number"].to_pylist() == [0, 1, 2]
    assert read_rows([], COMMAS, ["id"], reading()).num_rows == 0


def test_a_missing_column_is_named_with_its_neighbour(tmp_path: Path) -> None:
    path = written(tmp_path, "user_id,item\n1,a\n")
    with pytest.raises(InputError, match=r"no column 'userid' \(it has user_id, item\).*'user_id'"):
        read_rows([path], COMMAS, ["userid"], reading())


def test_a_column_that_stands_twice_is_refused_if_it_is_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, "item,title,title\n1,a,b\n")
    assert read_rows([path], COMMAS, ["item"], reading())["item"].to_pylist() == ["1"]
    with pytest.raises(InputError, match="'title' stands there 2 times"):
        read_rows([path], COMMAS, ["title"], reading())


def test_names_of_a_layout_and_of_columns_without_one(tmp_path: Path) -> None:
    path = written(tmp_path, "1\ta\t5\n", "u.data")
    layout = Layout(
        family="delimited", separator="\t", quoted=False, header=False, names=["user", "item"]
    )
    assert column_names(path, layout) == ["user", "item", "column_3"]
    too_many = layout.model_copy(update={"names": ["a", "b", "c", "d"]})
    with pytest.raises(InputError, match="has 3 columns, and names are given for 4"):
        column_names(path, too_many)


@pytest.mark.parametrize("has_header", [True, False])
def test_empty_lines_before_the_first_row(tmp_path: Path, has_header: bool) -> None:
    path = written(tmp_path, "\n\nid,x\n1,a\n\n2,b\n\n")
    layout = COMMAS.model_copy(update={"header": has_header})
    names = column_names(path, layout)
    ids = read_rows([path], layout, names[:1], reading())[names[0]].to_pylist()
    assert ids == (["1", "2"] if has_header else ["id", "1", "2"])
