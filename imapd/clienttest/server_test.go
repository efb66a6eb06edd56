package clienttest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/auth/passwdfile"
	"svc.plus/mailsrvd/imapd"
	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/listen"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir"
)

const (
	user     = "alice"
	password = "correct horse"
)

// server is mailsrvd's IMAP server over TLS on the loopback, with one account.
type server struct {
	t      testing.TB
	dir    string // everything of the test
	home   string // the account's
	cert   string // PEM file of the server's certificate, which signs itself
	port   string
	owner  asuser.Owner
	stores *maildir.Stores
}

// newServer starts a server whose account belongs to the user of the test.
func newServer(t testing.TB) *server { return newServerAs(t, os.Geteuid()) }

// newServerAs starts a server whose account belongs to uid. The separator is
// '/', so that names may hold dots of neither side.
func newServerAs(t testing.TB, uid int) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "clienttest") // t.TempDir lets nobody else in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &server{t: t, dir: dir, home: dir + "/home", cert: dir + "/cert.pem", owner: asuser.Self(user, dir+"/home")}
	if uid != os.Geteuid() {
		s.owner.UID, s.owner.GID = uid, uid
	}
	s.must(os.Chmod(dir, 0o711), os.Mkdir(s.home, 0o700), os.Chown(s.home, s.owner.UID, s.owner.GID))
	makeCertificate(t, s.cert, dir+"/key.pem")
	certs, err := listen.LoadCertificates(nil, listen.Pair{Certificate: s.cert, Key: dir + "/key.pem"})
	s.must(err)
	s.stores = maildir.NewStores(maildir.Options{Separator: '/', Hostname: "test"})
	srv, err := imapd.New(imapd.Options{Hostname: "localhost", Auth: s.accounts(), Stores: s.stores,
		TLS: listen.IMAPConfig(certs), SpoolDir: dir})
	s.must(err)
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	s.must(err)
	_, s.port, _ = net.SplitHostPort(raw.Addr().String())
	ln := listen.New(raw, listen.Options{Name: "imaps", TLS: listen.IMAPConfig(certs)})
	done := make(chan error, 1)
	go func() { done <- srv.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(srv.Shutdown(ctx), <-done, s.stores.Close()); err != nil {
			t.Errorf("ending the server: %v", err)
		}
	})
	s.must(s.store().Prepare(context.Background()))
	return s
}

func (s *server) must(errs ...error) {
	s.t.Helper()
	if err := errors.Join(errs...); err != nil {
		s.t.Fatal(err)
	}
}

// accounts is the account in a passwd-file.
func (s *server) accounts() *auth.Authenticator {
	s.t.Helper()
	hash, err := passwdfile.HashFast(password)
	s.must(err)
	entry := passwdfile.Entry{Name: user, Password: hash, UID: -1, GID: -1, Home: s.home}
	if s.owner.UID != os.Geteuid() {
		entry.UID, entry.GID = s.owner.UID, s.owner.GID
	}
	s.must(os.WriteFile(s.dir+"/passwd", []byte(entry.String()+"\n"), 0o600))
	backend, err := passwdfile.Open(passwdfile.Options{Path: s.dir + "/passwd"})
	s.must(err)
	a, err := auth.New(auth.Options{Backend: backend, FailureDelay: -1})
	s.must(err)
	return a
}

func (s *server) store() *maildir.Store { return s.stores.Store(s.owner, "~/Maildir") }

// makeCertificate writes a certificate for localhost and its key.
func makeCertificate(t testing.TB, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
}

// letter is a message as a mailbox has it.
type letter struct {
	uid   maildir.UID
	flags string // sorted, without \Recent
	date  int64  // INTERNALDATE
	text  string // with CRLF
}

// id is the Message-ID.
func (l letter) id() string { return header(l.text, "Message-ID") }

// header is a field of a message on one line, "" if it has none.
func header(text, name string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return ""
		}
		if n, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// letters is what a folder holds, read by maildir after a look at the disk.
func (s *server) letters(folder string) []letter {
	s.t.Helper()
	ctx := s.t.Context()
	m, err := s.store().Open(ctx, folder)
	s.must(err)
	defer m.Close()
	s.must(m.Sync(ctx))
	messages, keywords := m.Messages(), m.Keywords()
	var list []letter
	for _, msg := range messages {
		f, err := m.OpenMessage(ctx, msg.UID)
		s.must(err)
		text, err := io.ReadAll(f)
		f.Close()
		s.must(err)
		list = append(list, letter{uid: msg.UID, flags: flagText(msg.Flags, keywords), text: crlf(text)})
	}
	i := 0
	uids := make([]maildir.UID, len(messages))
	for i, msg := range messages {
		uids[i] = msg.UID
	}
	s.must(m.Times(ctx, uids, func(_ maildir.UID, t maildir.Times, _ int64) bool {
		list[i].date = t.Internal.Unix()
		i++
		return true
	}))
	return list
}

func crlf(text []byte) string {
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	return string(bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")))
}

// flagText is the names of flags, sorted.
func flagText(f maildir.Flags, keywords []string) string {
	var names []string
	for _, known := range []struct {
		flag maildir.Flags
		name string
	}{
		{maildir.Seen, `\Seen`}, {maildir.Answered, `\Answered`}, {maildir.Flagged, `\Flagged`},
		{maildir.Deleted, `\Deleted`}, {maildir.Draft, `\Draft`}, {maildir.Passed, "$Forwarded"},
	} {
		if f&known.flag != 0 {
			names = append(names, known.name)
		}
	}
	for i, name := range keywords {
		if f&maildir.Keyword(i) != 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// append stores a message as APPEND does.
func (s *server) append(folder, text string, d maildir.Delivery) maildir.UID {
	s.t.Helper()
	m, err := s.store().Open(s.t.Context(), folder)
	s.must(err)
	defer m.Close()
	uid, err := m.Append(s.t.Context(), message.FromBytes([]byte(text)), d)
	s.must(err)
	return uid
}

// mail is a message with this Message-ID, of some lines that differ.
func mail(id string) string {
	return "From: Joe <joe@example.org>\r\nTo: alice@example.org\r\nDate: Mon, 7 Feb 1994 21:52:25 -0800\r\n" +
		"Message-ID: <" + id + "@test>\r\nSubject: number " + id + "\r\n\r\n" +
		strings.Repeat("A line of message "+id+".\r\n", 1+len(id)%3)
}

// fill puts messages into a Maildir directory as an earlier server would have
// left them: files in cur/, no list.
func fill(t testing.TB, dir string, owner asuser.Owner, n int, name func(i int) (info, text string)) {
	t.Helper()
	for _, sub := range []string{"", "/cur", "/new", "/tmp"} {
		if err := os.Mkdir(dir+sub, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
		if err := os.Chown(dir+sub, owner.UID, owner.GID); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		info, text := name(i)
		file := filepath.Join(dir, fmt.Sprintf("cur/%d.M%dP1.old:2,%s", 1700000000+i, i, info))
		date := time.Unix(1600000000+int64(i)*60, 0)
		err := errors.Join(os.WriteFile(file, []byte(strings.ReplaceAll(text, "\r\n", "\n")), 0o600),
			os.Chown(file, owner.UID, owner.GID), os.Chtimes(file, date, date))
		if err != nil {
			t.Fatal(err)
		}
	}
}
