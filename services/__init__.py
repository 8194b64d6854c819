"""The first floor: each package is a program; none imports another."""
