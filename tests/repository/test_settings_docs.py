"""Every setting is documented, as it is."""

from __future__ import annotations

import subprocess
import sys

from tests.repository.checkout import ROOT


def test_the_settings_page_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/docs_settings.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
