"""YAML as configs need it: a key given twice is an error, and errors never quote the file, which may hold a secret."""

from typing import Any

import yaml


def load_strict_yaml(text: str) -> Any:
    """The value of a YAML document; raises ValueError that says where reading failed and why."""
    try:
        return yaml.load(text, _StrictLoader)  # noqa: S506  (a SafeLoader that also refuses a key given twice)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{place}{error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"it holds a character that YAML forbids: {getattr(error, 'reason', error)}") from None


class _StrictLoader(yaml.SafeLoader):
    """YAML lets the last of two equal keys win, which would let a second `train_use` drop the first unseen."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue  # `<<: *other` may be overruled by a key beside it: that is what it is for
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                problem = f"the key {key!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.append(key)
        return super().construct_mapping(node, deep=deep)
