package sieve_test

import (
	"context"
	"fmt"
	"strings"

	"svc.plus/mailsrvd/lda/sieve"
)

func Example() {
	ctx := context.Background()
	script, err := sieve.Compile(ctx, "main", []byte(`
require ["fileinto", "imap4flags"];
if header :contains "Subject" "zoo" {
    addflag "\\Flagged";
    fileinto "Animals";
}`), sieve.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	const text = "From: tim@example.org\r\nSubject: A day at the zoo\r\n\r\nHello\r\n"
	m := sieve.NewMessage(strings.NewReader(text), int64(len(text)))
	res, err := script.Run(ctx, m, sieve.Env{From: "tim@example.org", To: "ann@example.com"})
	if err != nil { // the result says to keep the message
		fmt.Println(err)
	}
	for _, a := range res.Actions {
		switch a := a.(type) {
		case *sieve.FileInto:
			fmt.Println("into", a.Mailbox, "with", a.Flags)
		default:
			fmt.Println(a)
		}
	}
	// Output: into Animals with [\Flagged]
}

// All mistakes of a script are told at once, each with its mend.
func ExampleCompile_problems() {
	_, err := sieve.Compile(context.Background(), "main", []byte(`
if header matches "Subject" "*zoo*" { fileinto "Animals"; }
kepe;`), sieve.Options{})
	fmt.Println(err)
	// Output:
	// main:2:11: error: "header" takes no test; did you mean :matches?
	// main:2:39: error: the command "fileinto" is not in use; begin the script with require "fileinto";
	// main:3:1: error: "kepe" is no command; did you mean keep?
}
