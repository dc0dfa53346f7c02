"""The patients' site of a hospital (the fixture ``hospital`` of a file), and who has come in."""

import pytest

from consent.portal.codes import spelled
from tests.simulators.portal import ORIGIN, comes_in, running_desk, site_before
from tests.simulators.web.client import visit


@pytest.fixture
def site(hospital, tmp_path):
    with running_desk(hospital, tmp_path) as desk, site_before(desk, tmp_path) as app:
        yield app


@pytest.fixture
def patient(site, hospital):
    with visit(site, ORIGIN) as visitor:
        comes_in(visitor, spelled(hospital.letter(0).code))
        yield visitor
