package asuser

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDoHasNoSupplementaryGroup(t *testing.T) {
	needRoot(t)
	done := make(chan error)
	go func() { // a thread of its own with groups, as systemd would give them
		runtime.LockOSThread()
		if err := setThreadGroups([]int{8, 42}); err != nil {
			done <- err
			return
		}
		err := Do(context.Background(), owner(20001), func() error {
			if g, err := unix.Getgroups(); err != nil || len(g) > 0 {
				return fmt.Errorf("groups while working as a user: %v %v", g, err)
			}
			return nil
		})
		if g, _ := unix.Getgroups(); err == nil && !slices.Equal(g, []int{8, 42}) {
			err = fmt.Errorf("groups afterwards: %v", g)
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestGroupsDoLendsGroupsToOneThread(t *testing.T) {
	needRoot(t)
	g := &Groups{ids: []int{42}, dropped: true}
	err := g.Do(func() error {
		if ids, _ := unix.Getgroups(); !slices.Equal(ids, []int{42}) {
			return fmt.Errorf("groups inside: %v", ids)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestGroupsDoWithoutDropRunsDirectly(t *testing.T) {
	want, _ := os.Getgroups()
	var g *Groups
	err := g.Do(func() error {
		if got, _ := os.Getgroups(); !slices.Equal(got, want) {
			return fmt.Errorf("groups changed: %v", got)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
