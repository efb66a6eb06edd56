// Package floorplan holds no code of the daemon: its test enforces the table of
// ARCHITECTURE.md that says which room may import which.
package floorplan
