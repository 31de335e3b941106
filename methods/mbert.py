"""mbert: the base encoder as it is."""

from __future__ import annotations

from typing import ClassVar

from harness.method import Method


class MBert(Method):
    """No alignment at all: the tasks get the base encoder, whatever `--base` names.

    Reference: Devlin et al., "BERT", NAACL 2019, arXiv 1810.04805, for the multilingual checkpoint.
    Objective: none.
    Inputs: none.
    Relations: the control against which `continued-mlm` shows what more text and steps give without alignment.
    """

    control: ClassVar[str | None] = None
    reference: ClassVar[str] = "Devlin et al. 2019, arXiv 1810.04805"
    objective: ClassVar[str] = "none: the base encoder untouched"
    trains: ClassVar[bool] = False
