package index

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestMain lets the test binary be the process that TestKilledWriter kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("INDEX_TEST_WRITER"); dir != "" {
		writeForever(dir, os.Getenv("INDEX_TEST_MAIL"))
		return
	}
	os.Exit(m.Run())
}

// writeForever changes a folder's cache until it is killed.
func writeForever(dir, mail string) {
	x, err := Open(Options{Dir: dir, noSync: true})
	if err != nil {
		panic(err)
	}
	b := &textBox{dir: mail}
	for uid := range UID(killedMails) {
		b.keys = append(b.keys, Key{uid + 1, fmt.Sprint("base", uid+1)})
	}
	m := x.Mailbox("alice", "0123", 7)
	m.LoadState()
	m.Reset(someState())
	fmt.Println("ready")
	r := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	for seq := ModSeq(10000); ; seq++ {
		m.Note(MessageState{seq, 1, 2, 3})
		switch r.IntN(6) {
		case 0:
			m.Fill(context.Background(), b.keys[r.IntN(killedMails):], b.open, nil)
		case 1:
			m.Forget([]UID{UID(1 + r.IntN(killedMails))})
		case 2:
			m.FillText(context.Background(), b.keys[:r.IntN(killedMails)], b.open, nil)
		case 3:
			m.FillText(context.Background(), b.keys, b.open, nil)
		case 4:
			m.closeFiles()
		default:
			m.flush()
		}
	}
}

const killedMails = 300

func TestKilledWriterLeavesNothingWrong(t *testing.T) {
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	b := newTextBox(t)
	for uid := range UID(killedMails) {
		b.add(t, uid+1, randomMail(r))
	}
	dir := t.TempDir()
	for round := range 12 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "INDEX_TEST_WRITER="+dir, "INDEX_TEST_MAIL="+b.dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 16)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
		x := openIndex(t, dir)
		m := x.Mailbox("alice", "0123", 7)
		if _, ok := m.LoadState(); ok {
			t.Errorf("round %d: the state of a killed process is trusted", round)
		}
		b.checkAll(t, m)
		if round%3 == 0 {
			b.fillAll(t, m)
			if missing := b.checkAll(t, m); missing > 0 {
				t.Errorf("round %d: %d rows are missing", round, missing)
			}
		}
		m.Close()
		x.Close()
		if t.Failed() {
			return
		}
	}
}
