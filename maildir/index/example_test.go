package index_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir/index"
)

// mails writes messages to files; it returns their keys and how to open them.
func mails(texts ...string) ([]index.Key, index.Opener, func()) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	var keys []index.Key
	path := func(uid index.UID) string { return filepath.Join(dir, fmt.Sprint(uid)) }
	for i, text := range texts {
		uid := index.UID(i + 1)
		if err := os.WriteFile(path(uid), []byte(text), 0o600); err != nil {
			panic(err)
		}
		keys = append(keys, index.Key{UID: uid, Base: fmt.Sprintf("17000000%02d.M1P1.host", uid)})
	}
	return keys, func(uid index.UID) (*os.File, error) { return os.Open(path(uid)) }, func() { os.RemoveAll(dir) }
}

func ExampleMailbox_Rows() {
	keys, open, remove := mails("Subject: one\nFrom: a@example.org\n\nhello\n", "Subject: two\n\nhello\n")
	defer remove()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	x, err := index.Open(index.Options{Dir: dir})
	if err != nil {
		panic(err)
	}
	defer x.Close()
	box := x.Mailbox("alice", "0f0e0d0c", 1700000000)
	defer box.Close()

	subject := message.NewMatcher("TWO")
	err = box.Rows(context.Background(), keys, open, func(k index.Key, row index.Row, ok bool) error {
		if !ok {
			return nil // read the message itself
		}
		found, _ := row.Match(index.Subject, subject)
		fmt.Println(k.UID, row.Size(), found)
		if wire, ok := row.Wire(); ok {
			fmt.Printf("%s\n", wire.AppendBodyStructure(nil, false, false))
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	// Output:
	// 1 44 false
	// ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 7 1)
	// 2 23 true
	// ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 7 1)
}

func ExampleMailbox_Candidates() {
	keys, open, remove := mails("Subject: one\n\nRed apples\n", "Subject: two\n\ngreen\n", "Subject: three\n\nred\n")
	defer remove()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	x, err := index.Open(index.Options{Dir: dir})
	if err != nil {
		panic(err)
	}
	defer x.Close()
	box := x.Mailbox("alice", "0f0e0d0c", 1700000000)
	defer box.Close()
	if err := box.FillText(context.Background(), keys[:2], open, nil); err != nil {
		panic(err)
	}

	maybe, unknown, err := box.Candidates(context.Background(), message.NewMatcher("red apple"), keys)
	fmt.Println(maybe, unknown, err)
	// Output: [1] [3] <nil>
}
