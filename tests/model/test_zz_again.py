import pytest
from tests.model.test_transports import PER_HUB, Stage, stage
@pytest.mark.timeout(400)
@pytest.mark.parametrize("n", range(12))
def test_again(n: int, stage: Stage) -> None:
    first = 260 // PER_HUB * PER_HUB
    stage.run(first, 260 - first + 1)
