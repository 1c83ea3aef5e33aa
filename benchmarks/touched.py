"""Which files of a folder were written lately: how a drill sees what a process is doing."""

from pathlib import Path


def touched_since(folder: Path, files: str, moment_ns: int) -> bool:
    return any(modified_ns(file) >= moment_ns for file in folder.glob(files))


def modified_ns(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:  # it got its final name, or went, while we looked
        return 0


def last_touched(folder: Path) -> str:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return str(max(files, key=modified_ns).relative_to(folder)) if files else "nothing"
