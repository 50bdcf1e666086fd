"""Write what the shipped configurations set, beside the values of `base`.

The values that are in the repository were written before configurations were checked
by models; a new file needs a line of its own, an old line stays as it is.
"""

from __future__ import annotations

import json
from pathlib import Path

from nnt.config import config_files, load_config


def main() -> None:
    """Write the file; not when the module is only imported."""
    base = load_config("base").to_dict()
    lines = [
        f"{json.dumps(name)}: "
        + json.dumps(
            {k: v for k, v in load_config(path).to_dict().items() if v != base.get(k)}
        )
        for name, path in config_files().items()
    ]
    target = Path(__file__).with_name("resolved_configs.json")
    target.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
