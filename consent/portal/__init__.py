"""The patients' site: a page that talks to the consent desk as a patient's own device does."""
