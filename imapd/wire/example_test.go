package wire_test

import (
	"fmt"
	"strings"

	"svc.plus/mailsrvd/imapd/wire"
)

// A command is parsed as its grammar reads. The literal in it is asked for when
// it is wanted.
func ExampleDecoder() {
	input := strings.NewReader("a1 STATUS {5}\r\nDraft (MESSAGES unseen)\r\n")
	d := wire.NewDecoder(input, wire.Hooks{
		BeforeRead: func(bool) error { return nil },
		Continue:   func() error { fmt.Println("+ OK"); return nil },
	}, wire.Limits{Line: 8192, Literal: 100, Literals: 100, Depth: 5})

	if err := d.Start(); err != nil {
		fmt.Println(err)
		return
	}
	tag := d.Tag()
	d.SP()
	command := d.Word()
	d.SP()
	mailbox := d.AString()
	d.SP()
	var items []string
	d.NonEmptyList(func() { items = append(items, d.Word()) })
	if err := d.End(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tag, command, mailbox, items)
	// Output:
	// + OK
	// a1 STATUS Draft [MESSAGES UNSEEN]
}

// A refused command is skipped to its true end: what its literal holds is never
// taken for a command.
func ExampleDecoder_Discard() {
	input := strings.NewReader("a1 SEARCH FROBNICATE {15+}\r\na2 DELETE all\r\n\r\na3 NOOP\r\n")
	d := wire.NewDecoder(input, wire.Hooks{BeforeRead: func(bool) error { return nil }},
		wire.Limits{Line: 8192, Discard: 8192})
	for d.Start() == nil {
		tag := d.Tag()
		d.SP()
		fmt.Println(tag, d.Word())
		if err := d.Discard(); err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output:
	// a1 SEARCH
	// a3 NOOP
}

func ExampleEncoder() {
	var out strings.Builder
	e := wire.NewEncoder(&out)
	e.Raw("* ").Number(3).Raw(" EXISTS").CRLF()
	e.Raw("* LIST () ").String("/").SP().Mailbox("Entwürfe").CRLF()
	if err := e.Flush(); err != nil {
		fmt.Println(err)
	}
	fmt.Printf("%q\n", out.String())
	// Output:
	// "* 3 EXISTS\r\n* LIST () \"/\" Entw&APw-rfe\r\n"
}
