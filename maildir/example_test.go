package maildir_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir"
)

// A message is delivered into a folder that a session follows; the session learns
// of it, flags it and reads it.
func Example() {
	ctx := context.Background()
	home, err := os.MkdirTemp("", "home")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(home)
	stores := maildir.NewStores(maildir.Options{Separator: '/'})
	defer stores.Close()
	store := stores.Store(asuser.Self("alice", home), "~/Maildir")

	if err := store.Create(ctx, "Lists/Go"); err != nil {
		panic(err)
	}
	box, err := store.Open(ctx, "Lists/Go")
	if err != nil {
		panic(err)
	}
	defer box.Close()
	watcher := box.Watch(nil)
	defer watcher.Close()

	mail := message.FromBytes([]byte("Subject: hello\r\n\r\nHello, alice.\r\n"))
	if _, err := store.Deliver(ctx, "Lists/Go", mail, maildir.Delivery{}); err != nil {
		panic(err)
	}
	<-watcher.C()
	for _, change := range watcher.Changes() {
		fmt.Println("arrived:", change.Kind == maildir.Arrived, "UID", change.UID)
	}

	stored, _, err := box.StoreFlags(ctx, []maildir.UID{1}, maildir.AddFlags, maildir.Seen, []string{"$Work"}, maildir.StoreOptions{By: watcher})
	if err != nil {
		panic(err)
	}
	fmt.Println("seen:", stored[0].Flags&maildir.Seen != 0, "keywords:", box.Keywords())

	file, err := box.OpenMessage(ctx, 1)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	text, _ := io.ReadAll(file)
	fmt.Printf("%q\n", text)
	names, _ := filepath.Glob(filepath.Join(home, "Maildir/.Lists.Go/cur/*:2,Sa"))
	fmt.Println("files:", len(names))
	// Output:
	// arrived: true UID 1
	// seen: true keywords: [$Work]
	// "Subject: hello\n\nHello, alice.\n"
	// files: 1
}

// Folders are listed with the parents that have no directory of their own.
func ExampleStore_Folders() {
	ctx := context.Background()
	home, err := os.MkdirTemp("", "home")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(home)
	stores := maildir.NewStores(maildir.Options{Separator: '/'})
	defer stores.Close()
	store := stores.Store(asuser.Self("alice", home), "~/Maildir")
	for _, name := range []string{"Sent", "Projekte/Füße"} {
		if err := store.Create(ctx, name); err != nil {
			panic(err)
		}
	}
	folders, err := store.Folders(ctx)
	if err != nil {
		panic(err)
	}
	for _, f := range folders {
		fmt.Printf("%s exists=%v children=%v %q\n", f.Name, f.Exists, f.HasChildren, f.SpecialUse)
	}
	// Output:
	// INBOX exists=true children=false ""
	// Projekte exists=false children=true ""
	// Projekte/Füße exists=true children=false ""
	// Sent exists=true children=false "\\Sent"
}
