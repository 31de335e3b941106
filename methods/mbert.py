"""mbert: the base encoder without alignment."""

from __future__ import annotations

from typing import ClassVar

from harness.method import Method


class MBert(Method):
    """No alignment: the tasks get the base encoder that `--base` names.

    Reference: Devlin et al., "BERT", NAACL 2019, arXiv 1810.04805, for the multilingual checkpoint.
    Objective: none.
    Inputs: none.
    Relations: the baseline of `continued-mlm`, whose gain over it comes from more text and steps alone.
    """

    control: ClassVar[str | None] = None
    reference: ClassVar[str] = "Devlin et al. 2019, arXiv 1810.04805"
    objective: ClassVar[str] = "none: the base encoder as it is"
    trains: ClassVar[bool] = False
