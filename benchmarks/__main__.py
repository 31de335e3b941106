"""`python -m benchmarks` lists the benchmarks; each has --help."""

import ast
from pathlib import Path

if __name__ == "__main__":
    for file in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        summary = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n\n")[0]
        print(f"python -m benchmarks.{file.stem:11} {' '.join(summary.split())}")
