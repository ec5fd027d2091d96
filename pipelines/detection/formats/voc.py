"""Pascal VOC: an XML file for each image."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from pipelines.core.files import one_line
from pipelines.data import sources
from pipelines.data.sources import SPLITS
from pipelines.detection.annotations import Annotated, Raw, annotated
from pipelines.detection.formats.files import Finder, images_below, text_of


def find(folder: Path) -> bool:
    """Whether annotations of this kind lie in a folder or below."""
    return any(_is_voc(path) for path in sorted(folder.rglob("*.xml"))[:5])


def _is_voc(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b"<annotation" in file.read(2000)
    except OSError:
        return False


def read(root: Path, images: Path | None) -> Raw:
    """Reads a folder: ImageSets/Main where it lists the splits, else folders of the splits, else all files.

    VOC counts pixels from 1, and its xmax and ymax are inside the box. Most tools that write the format count from 0,
    and their xmax is exclusive. Boxes are taken as VOC's where the folder has ImageSets, which only VOC itself has.
    """
    raw = Raw({})
    lists = root / "ImageSets" / "Main"
    if lists.is_dir() and (root / "Annotations").is_dir():
        finder = Finder(images or root / "JPEGImages", root)
        for path in sorted(lists.glob("*.txt")):
            split = SPLITS.get(path.stem.lower())
            if split is None:
                continue
            stems = [line.split()[0] for line in text_of(path).splitlines() if line.strip()]
            files = [root / "Annotations" / f"{stem}.xml" for stem in stems]
            raw.splits[split] = _files(files, finder, raw, root, one_based=True)
        if "train" in raw.splits:
            return raw
        raw.splits.clear()
    for split, folder in sources.split_folders(root).items():
        files = sorted(p for p in folder.rglob("*.xml") if not p.name.startswith("."))
        finder = Finder(images or folder, root)
        raw.splits[split] = _files(files, finder, raw, root, one_based=lists.is_dir())
        if images is None:
            named = {p.stem for p in files}
            alone = [p for p in images_below(folder) if p.stem not in named]
            if alone:
                raw.notes.append(f"{len(alone)} images in {folder.name} have no XML and are not used, such as "
                                 f"{alone[0].name}")  # fmt: skip
    return raw


def _files(files: list[Path], finder: Finder, raw: Raw, root: Path, one_based: bool) -> list[Annotated]:
    items = []
    for path in files:
        name = path.relative_to(root).as_posix()
        try:
            items.append(_file(path, finder, one_based))
        except FileNotFoundError as error:
            raw.skipped.append((name, "file not found" if error.filename else str(error)))
        except (ElementTree.ParseError, ValueError, OSError) as error:
            raw.skipped.append((name, one_line(error)))
    return items


def _file(path: Path, finder: Finder, one_based: bool) -> Annotated:
    tree = ElementTree.parse(path).getroot()
    named = (tree.findtext("filename") or "").strip()
    beside = [path.with_suffix(suffix) for suffix in (".jpg", ".png", ".jpeg")]
    image = next((p for p in beside if p.is_file()), None) or (named and finder.find(named)) or finder.stem(path.stem)
    if not image:
        raise FileNotFoundError(f"its image {named or path.stem} is not found")
    boxes, labels, difficult = [], [], []
    for number, node in enumerate(tree.iter("object"), start=1):
        label, box = (node.findtext("name") or "").strip(), node.find("bndbox")
        if not label or box is None:
            raise ValueError(f"object {number} has no name or no bndbox")
        try:
            values = [float(box.findtext(key) or "") for key in ("xmin", "ymin", "xmax", "ymax")]
        except ValueError:
            raise ValueError(f"the bndbox of object {number} must have the numbers xmin, ymin, xmax, ymax") from None
        if one_based:
            values[0], values[1] = values[0] - 1, values[1] - 1
        boxes.append(values)
        labels.append(label)
        difficult.append((node.findtext("difficult") or "0").strip() in ("1", "true"))
    size = tree.find("size")
    width, height = (int(float((size.findtext(k) if size is not None else None) or 0)) for k in ("width", "height"))
    return annotated(image, image.name, boxes, labels, difficult, size=(width, height) if width and height else None)


def write(target: Path, splits: dict[str, list[Annotated]]) -> None:
    """Writes `SPLIT/NAME.xml`, beside which the images belong; xmax and ymax are exclusive."""
    from pipelines.core.files import write_text

    for split, items in splits.items():
        for item in items:
            assert item.size is not None
            tree = ElementTree.Element("annotation")
            ElementTree.SubElement(tree, "filename").text = Path(item.name).name
            size = ElementTree.SubElement(tree, "size")
            for key, value in zip(("width", "height", "depth"), (*item.size, 3), strict=True):
                ElementTree.SubElement(size, key).text = str(value)
            for box, label, ignored in zip(item.boxes.tolist(), item.labels, item.ignored.tolist(), strict=True):
                node = ElementTree.SubElement(tree, "object")
                ElementTree.SubElement(node, "name").text = label
                ElementTree.SubElement(node, "difficult").text = str(int(ignored))
                corners = ElementTree.SubElement(node, "bndbox")
                for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
                    ElementTree.SubElement(corners, key).text = f"{value:g}"
            ElementTree.indent(tree)
            path = (target if split == "all" else target / split) / f"{Path(item.name).stem}.xml"
            write_text(path, ElementTree.tostring(tree, encoding="unicode") + "\n")
