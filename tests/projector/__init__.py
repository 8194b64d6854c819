"""The projector's tests."""
