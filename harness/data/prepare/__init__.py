"""Converts downloads into the folder that the `folder` source reads: XTREME's official preprocessing.

One module per data set declares which downloads it needs and how it is converted (`package.Package`); `archives` reads
the downloads, `build` writes the folders. Nothing here uses the network.
"""

from harness.data.prepare.bucc2018 import PACKAGE as BUCC2018
from harness.data.prepare.package import Package
from harness.data.prepare.panx import PACKAGE as PANX
from harness.data.prepare.pawsx import PACKAGE as PAWSX
from harness.data.prepare.squad import MLQA_PACKAGE, SQUAD, XQUAD_PACKAGE
from harness.data.prepare.tatoeba import PACKAGE as TATOEBA
from harness.data.prepare.tydiqa import PACKAGE as TYDIQA
from harness.data.prepare.udpos import PACKAGE as UDPOS
from harness.data.prepare.xnli import PACKAGE as XNLI

PACKAGES: dict[str, Package] = {
    package.name: package
    for package in (XNLI, PAWSX, UDPOS, PANX, XQUAD_PACKAGE, MLQA_PACKAGE, TYDIQA, SQUAD, BUCC2018, TATOEBA)
}
