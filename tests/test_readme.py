"""What the README shows works as it stands."""

import re
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_layer_in_a_network_of_one_s_own_trains() -> None:
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    scope: dict = {}
    exec(code, scope)
    strides = scope["network"][1].stride.detach()
    assert ((strides - 2).abs() > 1e-3).all()
