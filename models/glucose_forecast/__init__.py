"""A forecaster of glucose from glucose alone: associational, and registered as that."""
