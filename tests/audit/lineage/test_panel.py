"""The panel's CSV: what is understood, what is merged, and what is refused with a line."""

from pathlib import Path

import pytest

from tutelage.audit.lineage.panel import Panel, PanelModel, read_panel
from tutelage.schemas.errors import ConfigError

HEADER = "model,role,family,taught_by,parent,cluster"
REAL = Path(__file__).parents[4] / "shared" / "data" / "lineage-dev" / "panel.csv"


def written(folder: Path, *lines: str, header: str = HEADER) -> str:
    path = folder / "panel.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8", newline="")
    return str(path)


def read(folder: Path, *lines: str, header: str = HEADER) -> Panel:
    return read_panel(written(folder, *lines, header=header))


def refused(folder: Path, *lines: str, header: str = HEADER) -> str:
    with pytest.raises(ConfigError) as refusal:
        read(folder, *lines, header=header)
    assert refusal.value.exit_code == 2
    return str(refusal.value).removeprefix(str(folder))


def test_a_row_becomes_a_model_and_what_is_empty_is_shared_with_nobody(tmp_path: Path) -> None:
    panel = read(tmp_path, "gpt4,teacher,gpt4,,,", "tulu,taught,,gpt4; claude ,,open")
    assert panel.models["gpt4"] == PanelModel(
        model="gpt4",
        roles=frozenset({"teacher"}),
        maker="gpt4",
        family="gpt4",
        taught_by=frozenset(),
        maybe_taught_by=frozenset(),
        parent=None,
        cluster="gpt4",
        released=None,
        base_model=None,
    )
    assert panel.models["tulu"].taught_by == {"gpt4", "claude"}
    assert panel.models["tulu"].cluster == "open"


def test_helpers_keep_the_order_of_the_file(tmp_path: Path) -> None:
    panel = read(
        tmp_path,
        *("b,teacher,two,,,", "a,teacher,one,,,", "c,teacher,two,,,", "z,control,,,,", "a,control,,,,"),
        *("s,taught,,one,,", "x,suspect,,,,", "v,variant,,,a,"),
    )
    assert panel.families() == {"two": ("b", "c"), "one": ("a",)}
    assert panel.controls() == ("a", "z")
    assert panel.students() == ("s",)
    assert panel.with_role("suspect") == ("x",)
    assert panel.models["v"].parent == "a"


def test_optional_and_unknown_columns_in_any_order_with_a_byte_order_mark_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "panel.csv"
    path.write_bytes(
        "\ufeffnote,maker,cluster,Parent,taught_by,family,role,model,released,base_model,maybe_taught_by\r\n"
        '"a ""note"", with\r\na line break",meta,llama,,,llama,teacher,"llama, 7b",2023-07-18,base,\r\n'
        "\r\n"
        ",,,,gpt4,,TAUGHT,modèle,,llama,one;two\r\n".encode()
    )
    panel = read_panel(str(path))
    assert list(panel.models) == ["llama, 7b", "modèle"]
    assert (panel.models["llama, 7b"].maker, panel.models["llama, 7b"].base_model) == ("meta", "base")
    assert panel.models["modèle"].maybe_taught_by == {"one", "two"}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2024", ("2024-01-01", "2024-12-31")),
        ("2024-02", ("2024-02-01", "2024-02-29")),
        ("2023-02", ("2023-02-01", "2023-02-28")),
        ("2024-03-05", ("2024-03-05", "2024-03-05")),
    ],
)
def test_a_date_is_the_first_and_the_last_day_that_it_can_mean(
    tmp_path: Path, said: str, meant: tuple[str, str]
) -> None:
    found = read(tmp_path, f"m,control,,,,,{said}", header=f"{HEADER},released").models["m"]
    assert (found.released_from, found.released) == meant


@pytest.mark.parametrize("said", ["2024-13", "2024-02-30", "March 2024", "24", "2024-3", "2024-03-05T00:00", "٢٠٢٤"])
def test_a_date_that_is_none_is_refused(tmp_path: Path, said: str) -> None:
    message = refused(tmp_path, "a,control,,,,,", f"m,control,,,,,{said}", header=f"{HEADER},released")
    assert message.startswith("/panel.csv, line 3: `released` is ")
    assert "2024-03-31 was wanted" in message


def test_a_teacher_in_a_second_row_keeps_the_teachers_cluster(tmp_path: Path) -> None:
    for rows in (["claude,teacher,claude,,,claude", "claude,control,,,,claude-a"],) * 2:
        panel = read(tmp_path, *rows)
        assert panel.models["claude"].roles == {"teacher", "control"}
        assert panel.models["claude"].cluster == "claude"
        assert panel.models["claude"].family == "claude"
        rows.reverse()
    only = read(tmp_path, "claude,teacher,claude,,,", "claude,control,,,,anthropic")
    assert only.models["claude"].cluster == "anthropic"


def test_families_of_two_rows_add_up(tmp_path: Path) -> None:
    assert read(tmp_path, "m,taught,,one,,", "m,taught,,two,,").models["m"].taught_by == {"one", "two"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["m,teacher,one,,,", "m,teacher,two,,,"], "family of m is two, and one in"),
        (["m,control,,,,a", "m,suspect,,,,b"], "cluster of m is b, and a in"),
        (["m,variant,,,p,", "m,control,,,q,"], "parent of m is q, and p in"),
        (["m,control,,,,", "m,taught,,one,,"], "m is taught here and control in"),
        (["m,control,,,,", "m,background,,,,"], "m is background here and control in"),
    ],
)
def test_rows_that_contradict_each_other_are_refused_with_both_lines(
    tmp_path: Path, rows: list[str], said: str
) -> None:
    message = refused(tmp_path, *rows)
    assert message.startswith("/panel.csv, line 3: ")
    assert said in message
    assert "line 2" in message


def test_makers_and_dates_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    header = f"{HEADER},maker,released,base_model"
    assert "maker of m" in refused(tmp_path, "m,control,,,,,a,,", "m,suspect,,,,,b,,", header=header)
    assert "released of m" in refused(tmp_path, "m,control,,,,,,2023,", "m,suspect,,,,,,2024,", header=header)
    assert "base_model of m" in refused(tmp_path, "m,control,,,,,,,x", "m,suspect,,,,,,,y", header=header)
    merged = read(tmp_path, "m,control,,,,,a,,", "m,suspect,,,,,,2024,", header=header).models["m"]
    assert (merged.maker, merged.released) == ("a", "2024-12-31")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("m,teacher,,,,", "is a teacher without a family; fill in `family`"),
        ("m,taught,,,,", "is taught, by nobody; fill in `taught_by`"),
        ("m,variant,,,,", "is a variant of nothing; fill in `parent`"),
        (",control,,,,c", "names no model; fill in `model`"),
        ("m,teachr,f,,,", "one of teacher, control, taught, variant, background, suspect was wanted"),
        ("m,teachr,f,,,", "did you mean teacher?"),
        ("m,,f,,,", "the role of m is ''"),
        ("m,control,,,", "has 5 fields, the header 6; put a value that holds a comma in quotes"),
        ("llama, 7b,control,,,,", "has 7 fields, the header 6"),
        ("m,variant,,,m,", "m descends from itself (m, m)"),
    ],
)
def test_a_row_that_lacks_what_its_role_needs_is_refused_with_its_line(tmp_path: Path, row: str, said: str) -> None:
    message = refused(tmp_path, "t,teacher,one,,,", "", row)
    assert message.startswith("/panel.csv, line 4: ")
    assert said in message


def test_parents_in_a_circle_are_refused(tmp_path: Path) -> None:
    assert "a descends from itself (a, b, a)" in refused(tmp_path, "a,variant,,,b,", "b,variant,,,a,")


def test_the_line_is_where_a_record_begins(tmp_path: Path) -> None:
    rows = ['"a\nb",control,,,,', 'c,"control\n\n",,,,', "d,nobody,,,,"]
    assert "line 7: the role of d" in refused(tmp_path, *rows)
    assert "line 3: is no CSV" in refused(tmp_path, "a,control,,,,", '"b,control,,,,', "c,control,,,,")


def test_missing_columns_are_named_with_those_that_were_found(tmp_path: Path) -> None:
    message = refused(tmp_path, "m,control", header="name,role")
    assert "lacks the columns model, family, taught_by, parent, cluster; found name, role" in message
    assert "has the column role twice" in refused(tmp_path, "a,a,,,,,", header=f"{HEADER},role")


def test_a_panel_without_a_model_or_a_header_is_refused(tmp_path: Path) -> None:
    assert "names no model" in refused(tmp_path)
    assert "names no model" in refused(tmp_path, ",,,,,", "")
    (tmp_path / "panel.csv").write_text("")
    with pytest.raises(ConfigError, match="found no header"):
        read_panel(str(tmp_path / "panel.csv"))


def test_what_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "panel.csv").write_bytes(b"model,role\ncaf\xe9,control\n")
    with pytest.raises(ConfigError, match=r"is not UTF-8 .* at byte 14\); save the panel as CSV in UTF-8"):
        read_panel(str(tmp_path / "panel.csv"))
    for uri in (tmp_path / "none.csv", tmp_path, "nowhere://panel.csv"):
        with pytest.raises(ConfigError, match="can't be read"):
            read_panel(str(uri))


def test_a_panel_of_any_file_system_is_read() -> None:
    import fsspec

    with fsspec.open("memory://panels/one.csv", "w") as stream:
        stream.write(f"{HEADER}\nm,control,,,,\n")
    assert list(read_panel("memory://panels/one.csv").models) == ["m"]


def test_a_family_without_a_teacher_is_remembered_and_told(tmp_path: Path) -> None:
    panel = read(tmp_path, "t,teacher,gpt35,,,", "s,taught,,GPT35;claude,,", "u,taught,,gpt35,,")
    assert panel.models["s"].taught_by == {"GPT35", "claude"}
    assert panel.families() == {"gpt35": ("t",)}
    first, second = panel.notes
    assert "no model of the panel is a teacher of gpt35" in first.lower()
    assert first.endswith("did you mean gpt35?")
    assert "a teacher of claude, which is said to have taught s" in second
    assert read(tmp_path, "t,teacher,gpt35,,,", "u,taught,,gpt35,,").notes == ()


def test_a_parent_that_is_not_in_the_panel_and_a_family_on_both_sides_are_told(tmp_path: Path) -> None:
    header = f"{HEADER},maybe_taught_by"
    panel = read(tmp_path, "t,teacher,one,,,,", "v,variant,,,elder,,", "s,taught,,one,,,one", header=header)
    both, orphan = panel.notes
    assert "s is in `taught_by` and in `maybe_taught_by` of one" in both
    assert "no row for the parent of v" in orphan


def test_names_that_hide_are_spelt_out_in_messages(tmp_path: Path) -> None:
    message = refused(tmp_path, "\x1b[31m\u202em,nobody,,,,")
    assert "\x1b" not in message
    assert "⟨U+001B⟩[31m⟨U+202E⟩m" in message


@pytest.mark.skipif(not REAL.exists(), reason="shared/data is not here: the panel of real models")
def test_the_panel_of_real_models_is_read() -> None:
    panel = read_panel(str(REAL))
    assert len(panel.models) == 121
    assert panel.models["claude"].roles == {"teacher", "control"}
    assert panel.models["claude"].cluster == "claude"
    assert panel.models["llama-2-7b-chat-hf"].cluster == "llama2chat"
    assert len(panel.families()) == 8
    assert len(panel.controls()) == 10
    assert panel.models["vicuna-7b"].maybe_taught_by == {"gpt4"}


def test_families_that_can_t_have_taught_it_are_read_and_contradict_those_that_did(tmp_path: Path) -> None:
    header = f"{HEADER},not_taught_by"
    read_back = read(tmp_path, "t,teacher,one,,,,", "u,teacher,two,,,,", "m,background,,,,,one; two", header=header)
    assert read_back.models["m"].not_taught_by == {"one", "two"}
    message = refused(tmp_path, "t,teacher,one,,,,", "s,taught,,one,,,one", header=header)
    assert "s is in `taught_by` and in `not_taught_by` of one; take it out of one" in message
