package message_test

import (
	"fmt"
	"io"
	"os"
	"strings"

	"svc.plus/mailsrvd/internal/message"
)

const mail = `From: "Example, Ann" <ann@example.org>
To: team: bob@example.net, carol@example.com;
Subject: Re: [news] =?utf-8?Q?Gr=C3=BC=C3=9Fe?=
Date: Tue, 3 Mar 2026 10:11:12 +0100
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b

Hello Bob
--b
Content-Type: text/html; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

<p>Gr=FC=DFe</p>
--b--
`

// A stored message is scanned once; its parts are then stretches of the file.
func ExampleScan() {
	root, err := message.Scan(strings.NewReader(mail))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", root.AppendBodyStructure(nil, false))
	part := root.Find([]int{1}) // BODY[1]
	body := part.Body()
	io.Copy(os.Stdout, body.Reader(strings.NewReader(mail)))
	fmt.Printf(" (%d bytes)\n", body.VSize)
	// Output:
	// (("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 9 0)("text" "html" ("charset" "iso-8859-1") NIL NIL "quoted-printable" 16 0) "mixed")
	// Hello Bob (9 bytes)
}

// While a message arrives, a Scanner is one of the writers it goes to.
func ExampleScanner() {
	s := message.NewScanner()
	io.Copy(io.MultiWriter(io.Discard, s), strings.NewReader(mail))
	root := s.Finish()
	fmt.Println(root.Summary.From, root.VSize())
	// Output: "Example, Ann" <ann@example.org> 378
}

func ExamplePart_TextReader() {
	root, _ := message.Scan(strings.NewReader(mail))
	text, _ := io.ReadAll(root.Find([]int{2}).TextReader(strings.NewReader(mail)))
	fmt.Println(strings.TrimSpace(string(text)))
	// Output: Grüße
}

func ExamplePart_MatchText() {
	root, _ := message.Scan(strings.NewReader(mail))
	found, err := root.MatchText(strings.NewReader(mail), message.NewMatcher("GRÜßE"))
	fmt.Println(found, err)
	found, err = root.MatchText(strings.NewReader(mail), message.NewMatcher("hello bob"))
	fmt.Println(found, err)
	// Output:
	// true <nil>
	// true <nil>
}

func ExampleBaseSubject() {
	root, _ := message.Scan(strings.NewReader(mail))
	fmt.Println(message.BaseSubject(message.DecodeText(root.Summary.Subject)))
	// Output: Grüße true
}

func ExampleParseAddressList() {
	root, _ := message.Scan(strings.NewReader(mail))
	for _, list := range []string{root.Summary.From, root.Summary.To} {
		for _, a := range message.ParseAddressList(list) {
			fmt.Println(a.Name, a)
		}
	}
	// Output:
	// Example, Ann ann@example.org
	// team team:
	//  bob@example.net
	//  carol@example.com
	//  ;
}

func ExampleAppendHeaderFields() {
	header, _, _ := strings.Cut(mail, "\n\n")
	fields := message.AppendHeaderFields(nil, []byte(header+"\n\n"), []string{"date", "subject"}, false)
	fmt.Printf("%q\n", fields)
	// Output: "Subject: Re: [news] =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\nDate: Tue, 3 Mar 2026 10:11:12 +0100\r\n\r\n"
}
