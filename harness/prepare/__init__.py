"""From what a user can download to the folder that the `folder` source reads: XTREME's official preprocessing.

One module for each data set says what it looks for and how it is converted (`package.Package`); `archives` reads what
was downloaded, `build` makes the folders. Nothing here uses the network.
"""

from harness.prepare.bucc2018 import PACKAGE as BUCC2018
from harness.prepare.package import Package
from harness.prepare.panx import PACKAGE as PANX
from harness.prepare.pawsx import PACKAGE as PAWSX
from harness.prepare.squad import MLQA_PACKAGE, SQUAD, XQUAD_PACKAGE
from harness.prepare.tatoeba import PACKAGE as TATOEBA
from harness.prepare.tydiqa import PACKAGE as TYDIQA
from harness.prepare.udpos import PACKAGE as UDPOS
from harness.prepare.xnli import PACKAGE as XNLI

PACKAGES: dict[str, Package] = {
    package.name: package
    for package in (XNLI, PAWSX, UDPOS, PANX, XQUAD_PACKAGE, MLQA_PACKAGE, TYDIQA, SQUAD, BUCC2018, TATOEBA)
}
