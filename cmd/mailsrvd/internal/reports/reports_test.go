package reports

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	xmlReport  = `<?xml version="1.0"?>` + "\n" + `<feedback><report_metadata><org_name>google.com</org_name><date_range><begin>1772582400</begin><end>1772668799</end></date_range></report_metadata><policy_published><domain>svc.plus</domain></policy_published><record><row><source_ip>192.0.2.1</source_ip><count>3</count></row></record></feedback>`
	jsonReport = `{"organization-name":"Example","date-range":{"start-datetime":"2026-03-04T00:00:00Z","end-datetime":"2026-03-04T23:59:59Z"},"report-id":"1","policies":[{"policy":{"policy-type":"sts","policy-domain":"svc.plus"},"summary":{"total-successful-session-count":5,"total-failure-session-count":1}}]}`
)

const testLimit = 64 << 10

func gz(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	z.Close()
	return b.String()
}

func zipped(texts ...string) string {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i, t := range texts {
		w, _ := z.Create(fmt.Sprintf("f%d", i))
		io.WriteString(w, t)
	}
	z.Close()
	return b.String()
}

func mailWith(typ, body string) string {
	return "From: x@y.example\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nSee below <feedback>\n--b\nContent-Type: " + typ +
		"\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte(body)) + "\n--b--\n"
}

func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want string // d for DMARC, t for TLS
		err  string
	}{
		"XML":                    {xmlReport, "d", ""},
		"JSON":                   {"\xef\xbb\xbf\n" + jsonReport, "t", ""},
		"gzip":                   {gz(xmlReport), "d", ""},
		"zip":                    {zipped(xmlReport, "a text", jsonReport), "dt", ""},
		"a message with gzip":    {mailWith("application/gzip", gz(xmlReport)), "d", ""},
		"one with a wrong type":  {mailWith("application/octet-stream", gz(jsonReport)), "t", ""},
		"one with XML":           {mailWith("text/xml", xmlReport), "d", ""},
		"a forwarded one":        {"From: a@b.example\nContent-Type: message/rfc822\n\n" + mailWith("application/zip", zipped(xmlReport)), "d", ""},
		"a report as the body":   {"From: a@b.example\nContent-Type: application/tlsrpt+json\n\n" + jsonReport, "t", ""},
		"a message without":      {"From: a@b.example\n\nhello\n", "", ""},
		"nothing":                {"", "", ""},
		"cut gzip":               {gz(xmlReport)[:120], "", "EOF"},
		"XML of something else":  {"<html></html>", "", "reading a DMARC report"},
		"JSON of something else": {"{}", "", "no TLS report"},
		"a broken zip":           {"PK\x03\x04xxxx", "", "zip"},
		"many files":             {zipped(strings.Split(strings.Repeat("x ", 30), " ")...), "", "a zip archive of 31 files"},
		"many parts":             {"Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\nContent-Type: a/b\n\nx\n", maxParts+1), "", "more than 100 parts"},
		"gzip in gzip":           {gz(gz(xmlReport)), "", ""},
		"a bomb of gzip":         {gz("<feedback><error>" + strings.Repeat("a", testLimit+10)), "", "more than 65536 bytes"},
		"a bomb of zip":          {zipped(`{"organization-name":"` + strings.Repeat("a", testLimit+10)), "", "more than 65536 bytes"},
		"a file too big":         {strings.Repeat("a", testLimit+1), "", "more than 65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := read("f", strings.NewReader(c.text), testLimit)
			got := ""
			for _, f := range found {
				if f.DMARC != nil {
					got += "d"
				} else {
					got += "t"
				}
				if f.Begin().UTC().Format("2006-01-02") != "2026-03-04" || f.Source != "f" {
					t.Errorf("%+v", f)
				}
			}
			if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				if !(name == "gzip in gzip" && errors.Is(err, errNone)) {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	}
}

func TestReadTree(t *testing.T) {
	fsys := fstest.MapFS{
		"cur/1:2,S":           {Data: []byte(mailWith("application/gzip", gz(xmlReport)))},
		"new/2":               {Data: []byte("From: a@b\n\nhello\n")},
		"new/3":               {Data: []byte(gz("<feedback>"))},
		"tmp/4":               {Data: []byte(xmlReport)},
		".Reports/cur/5":      {Data: []byte(jsonReport)},
		"dovecot-uidlist":     {Data: []byte("3 V1")},
		"subscriptions":       {Data: []byte("Reports")},
		".Reports/new/6:2,":   {Data: []byte(xmlReport)},
		".Reports/tmp/unread": {Data: []byte(xmlReport)},
	}
	for dir, want := range map[string]int{".": 1, ".Reports": 2, "cur/1:2,S": 1, "missing": 0} {
		found, err := ReadTree(fsys, dir)
		if len(found) != want || (err != nil) != (dir == "." || dir == "missing") {
			t.Errorf("%s: %d, %v", dir, len(found), err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{xmlReport, jsonReport, gz(xmlReport), zipped(xmlReport), mailWith("application/gzip", gz(xmlReport))} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		found, _ := Read("f", bytes.NewReader(b))
		for _, x := range found {
			if x.DMARC == nil && x.TLS == nil {
				t.Error("nothing found")
			}
			x.Begin()
		}
	})
}
