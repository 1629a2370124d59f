"""From a folder and the words said of it to a recipe: said before preset before detection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lmm4rec.catalogue.raw.recipe import IdMap, InteractionsRecipe, ItemsRecipe, Recipe
from lmm4rec.catalogue.sources.detection import Detection, Found
from lmm4rec.catalogue.sources.folder import Folder
from lmm4rec.catalogue.sources.pictures_found import features_of, pictures_of
from lmm4rec.catalogue.sources.presets import Preset, lacking, matching_preset, preset
from lmm4rec.catalogue.sources.tables_found import (
    Table,
    all_tables,
    columns_there,
    files_named,
    open_table,
)
from lmm4rec.catalogue.sources.unread import notes_of_unread, refuse_effectless
from lmm4rec.catalogue.sources.words import (
    LAYOUT_WORDS,
    InteractionsWords,
    ItemsWords,
    TableWords,
    Words,
)
from lmm4rec.errors import InputError

_ESSENTIAL = {"interactions": ("user", "item"), "items": ("item",)}
_WAY_ALONE = ("having", "shards", "names_without_header", "told_apart_by_items")


def resolve(folder: Folder, words: Words, preset_name: str | None, *, any_preset: bool) -> Recipe:
    """The folder's recipe. `any_preset`: without a name, the first whose signature fits.

    InputError: nothing decides, or what is said does not fit the folder.
    """
    name = preset_name or (matching_preset(folder) if any_preset else None)
    known = None if name is None else preset(name)
    if preset_name is not None and known is not None and (missing := lacking(folder, known)):
        raise InputError(
            f"{folder.root}: lacks {missing}, so that it is no {preset_name} as preset goes; leave "
            "source.preset out to have the files looked at, or put that file there"
        )
    return _Resolving(folder, words, name, known).recipe()


class _Resolving:
    def __init__(
        self, folder: Folder, words: Words, name: str | None, known: Preset | None
    ) -> None:
        self._folder, self._words, self._name, self._preset = folder, words, name, known
        self._detection = Detection(folder, all_tables(folder))
        self._strict: dict[str, Any] = {}  # the merged words of each table
        self._notes: list[str] = list(known.notes) if known else []

    def recipe(self) -> Recipe:
        items = self._told("items")
        interactions = self._interactions(items)
        if items is None and self._may_be_found("items"):
            self._refuse_without_file("items")
            items = self._detection.items(interactions, self._mapping_files())
            if items is None:
                self._notes.append("there is no table of items: no texts")
        if items is not None and not items.roles.get("item"):
            column = self._detection.item_column(items.table, interactions)
            items = Found(items.table, {**items.roles, "item": column})
        recipe_items = self._items_recipe(items, interactions)
        ids = self._detection.ids(interactions.table, interactions.roles["item"])
        is_said = "pictures" in self._words.model_fields_set
        said = self._words if is_said else self._preset
        tables = [interactions] if items is None else [interactions, items]
        self._notes += notes_of_unread(
            self._folder,
            [(one.table, one.roles) for one in tables],
            self._mapping_files(),
            is_known=self._preset is not None,
        )
        pictures, notes = pictures_of(
            self._folder, said, items, ids, self._detection, strict=is_said
        )
        self._notes += notes
        default = self._preset or Words()
        recipe = Recipe(
            preset=self._name,
            interactions=self._interactions_recipe(interactions),
            items=recipe_items,
            pictures=pictures,
            users_by_number=self._id_map("users_by_number"),
            items_by_number=self._id_map("items_by_number"),
            features=features_of(self._folder, self._either("features") or {}),
            kinds=self._either("kinds") or {},
            items_are=self._words.items_are or default.items_are or "product",
            new_arrivals=self._words.new_arrivals or default.new_arrivals or "include",
            notes=list(dict.fromkeys(self._notes)),
        )
        refuse_effectless(self._folder, recipe)
        return recipe

    def _either(self, word: str) -> Any:
        if word in self._words.model_fields_set:
            return getattr(self._words, word)
        return getattr(self._preset, word) if self._preset else None

    def _may_be_found(self, role: str) -> bool:
        """Neither the person nor the preset says that there is none."""
        return self._words.of(role) is not None and not (
            self._preset is not None and getattr(self._preset, role) is None
        )

    def _told(self, role: str) -> Found | None:
        """A table that the words or a way of the preset name, with the roles that they name."""
        said = self._words.of(role)
        if said is None:
            return None
        for way in [*self._ways(role), {}]:
            merged = {**way, **said}
            having = None if "file" in said else way.get("having")
            if not merged.get("file") and not having:
                continue
            shards = "file" in said or bool(way.get("shards"))
            section = f"source.{role}"
            files = files_named(self._folder, merged.get("file"), section, having, shards)
            if files is None:
                if "file" in said:
                    raise self._no_file(role, said["file"])
                continue
            table = open_table(self._folder, files, self._layout(merged, files))
            if "file" in said and set(way.get("having", [])) - set(table.columns):
                continue
            found = self._with_roles(role, table, merged, said)
            if found is not None:
                self._strict[role] = merged
                return found
        return None

    def _ways(self, role: str) -> Sequence[Mapping[str, Any]]:
        ways = getattr(self._preset, role, None) or []
        return [{word: getattr(way, word) for word in way.model_fields_set} for way in ways]

    def _with_roles(
        self, role: str, table: Table, merged: Mapping[str, Any], said: Mapping[str, Any]
    ) -> Found | None:
        model: type[TableWords] = InteractionsWords if role == "interactions" else ItemsWords
        own = {k: v for k, v in merged.items() if k not in _WAY_ALONE}
        roles = {}
        for name, columns in model(**own).columns().items():
            where = f"source.{role}.{name}"
            kept = columns_there(table, columns, where, self._folder, strict=name in said)
            if kept or name in said:
                roles[name] = kept
        if not said and any(not roles.get(name) for name in _ESSENTIAL[role]):
            return None  # a way of the preset that this file does not go
        return Found(table, roles)

    def _layout(self, merged: Mapping[str, Any], files: Mapping[str, list[str]]) -> dict[str, Any]:
        told = {word: merged[word] for word in LAYOUT_WORDS if merged.get(word) is not None}
        names = merged.get("names_without_header")
        if names:
            first = next(iter(files.values()))[0]
            layout = self._folder.layout(first, told)
            if layout is not None and not layout.header:
                told |= {"names": names, "header": False}
        return told

    def _no_file(self, role: str, file: Any) -> InputError:
        """Of the files that a word names the first that is not there or no table."""
        parts = file if isinstance(file, dict) else {"": file}
        there = f"it has {', '.join(self._folder.tables[:12]) or 'no tables'}"
        for part, said in parts.items():
            if self._folder.matching(said, self._folder.tables):
                continue
            named = self._folder.matching(said)
            for name in named:
                if name in self._folder.problems:
                    return InputError(self._folder.problems[name])
            where = f"source.{role}.file.{part}" if part else f"source.{role}"
            what = "file" if not named else "table"
            return InputError(
                f"{self._folder.root}: holds no {what} {said!r} as {where} names it; {there}"
            )
        return InputError(f"{self._folder.root}: holds not what source.{role} names; {there}")

    def _interactions(self, items: Found | None) -> Found:
        found = self._told("interactions")
        if found is None:
            if self._words.of("interactions") is None:
                raise InputError(
                    f"{self._folder.root}: source.interactions is null; a catalogue without "
                    "interactions trains nothing: name their file, or leave the word out"
                )
            self._refuse_without_file("interactions")
            found = self._detection.interactions(items)
        elif self._strict["interactions"].get("told_apart_by_items"):
            found = self._told_apart(found, items)
        elif any(role not in found.roles for role in _ESSENTIAL["interactions"]):
            found = self._detection.in_interactions(found.table, found.roles, items)
            if any(not found.roles.get(role) for role in _ESSENTIAL["interactions"]):
                raise InputError(
                    f"{self._folder.root / found.table.all_files[0]}: no column is known by its "
                    f"name to hold users or items (it has {', '.join(found.table.columns)}); write "
                    "source.interactions.user and source.interactions.item"
                )
        elif self._words.of("interactions"):
            found = self._detection.in_interactions(found.table, found.roles, items)
        self._notes += found.notes
        return found

    def _refuse_without_file(self, role: str) -> None:
        """InputError where words are said of a table that no word and no preset leads to."""
        said = self._words.of(role)
        if said:
            raise InputError(
                f"{self._folder.root}: source.{role} says {', '.join(said)} and no file; write the "
                f"file too, as source.{role}.file"
            )

    def _told_apart(self, found: Found, items: Found | None) -> Found:
        """Which of two columns holds items: the one that the items table knows better."""
        name = found.table.all_files[0]
        if items is None:
            raise InputError(
                f"{self._folder.root / name}: has no header, and its columns come in another order "
                "by release; put the metadata beside it, or write source.interactions.names"
            )
        theirs = self._detection.ids(items.table, items.roles["item"])
        roles = found.roles
        shares = [
            self._known_share(self._detection.ids(found.table, roles[role]), theirs)
            for role in ("user", "item")
        ]
        if shares[0] > shares[1]:
            found = Found(found.table, {**roles, "user": roles["item"], "item": roles["user"]})
        self._notes.append(f"{name} has no header: {found.roles['item'][0]} joins the metadata")
        return found

    @staticmethod
    def _known_share(ids: Any, theirs: Any) -> float:
        known = set(theirs.to_pylist())
        return sum(one in known for one in ids.to_pylist()) / max(len(ids), 1)

    def _interactions_recipe(self, found: Found) -> InteractionsRecipe:
        roles = dict(found.roles)
        merged = self._strict.get("interactions", {})
        split = merged.get("split")
        named_split = roles.pop("split", None)
        if "split" not in merged and named_split:
            split = _usual_split(named_split[0])
        if split is not None and "split" in (self._words.of("interactions") or {}):
            where = "source.interactions.split.column"
            columns_there(found.table, [split.column], where, self._folder, strict=True)
        words = ("date_order", "order_is_time", "parts_are_splits", "order", "hashed")
        plain = {word: merged[word] for word in words if merged.get(word) is not None}
        known = set(InteractionsRecipe.model_fields) - {"files", "layout", "split", *words}
        columns = {role: columns for role, columns in roles.items() if role in known}
        files: Any = found.table.files
        words_said: dict[str, Any] = {**columns, **plain}
        return InteractionsRecipe(files=files, layout=found.table.layout, split=split, **words_said)

    def _items_recipe(self, items: Found | None, interactions: Found) -> ItemsRecipe | None:
        if items is None:
            return None
        merged = self._strict.get("items", {})
        if self._words.of("items"):
            items = self._detection.in_items(items.table, items.roles)
        self._notes += items.notes
        roles = {role: columns for role, columns in items.roles.items() if role != "image"}
        if "group" in self._words.model_fields_set:
            said = self._words.group
            names = [] if said is None else [said] if isinstance(said, str) else said
            roles["group"] = columns_there(items.table, names, "source.group", self._folder, True)
        words = ("continues", "drafts", "is_numbered", "titles_may_be_script")
        plain = {word: merged[word] for word in words if merged.get(word) is not None}
        words_said: dict[str, Any] = {**roles, **plain}
        return ItemsRecipe(files=items.table.all_files, layout=items.table.layout, **words_said)

    def _mapping_files(self) -> list[str]:
        maps = [self._either(word) for word in ("users_by_number", "items_by_number")]
        return [name for one in maps if one for name in self._folder.matching(one.file)]

    def _id_map(self, word: str) -> IdMap | None:
        said = self._either(word)
        if said is None:
            return None
        names = self._folder.matching(said.file)
        if not names:
            if word in self._words.model_fields_set:
                raise self._no_file(word, said.file)
            self._notes.append(f"there is no {said.file}: numbers are taken as ids")
            return None
        table = open_table(self._folder, {"all": names[:1]}, said.layout())
        for column in (said.number, said.id):
            columns_there(table, [column], f"source.{word}", self._folder, strict=True)
        return IdMap(files=names[:1], layout=table.layout, number=said.number, id=said.id)


def _usual_split(column: str) -> dict[str, str]:
    return {"column": column, "train": "train", "validation": "validation", "test": "test"}
