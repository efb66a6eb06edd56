package imapd

import (
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/maildir"
)

func newQuotaHarness(t *testing.T, limits *maildir.Limits) *harness {
	return newHarnessOn(t, maildir.Options{Limits: func(asuser.Owner, string) maildir.Limits { return *limits }}, nil)
}

func TestQuota(t *testing.T) {
	limits := &maildir.Limits{Storage: 10 << 10, Messages: 5}
	h := newQuotaHarness(t, limits)
	h.deliver("INBOX", "Subject: a\n\n"+strings.Repeat("x", 2000)+"\n")
	h.login("")
	h.talk(`
		C: a GETQUOTAROOT INBOX
		S: * QUOTAROOT INBOX "User quota"
		S: * QUOTA "User quota" (STORAGE 2 10 MESSAGE 1 5)
		S: a OK GETQUOTAROOT completed.
		C: b GETQUOTA "User quota"
		S: * QUOTA "User quota" (STORAGE 2 10 MESSAGE 1 5)
		S: b OK ...
		C: c GETQUOTA ""
		S: c NO [NONEXISTENT] No such quota root
		C: d GETQUOTAROOT "not there yet"
		S: * QUOTAROOT "not there yet" "User quota"
		S: * QUOTA ...
		S: d OK ...
		C: e SETQUOTA "User quota" (STORAGE 512)
		S: e NO [NOPERM] ...
		C: e SETQUOTA "User quota" (STORAGE x)
		S: e BAD ...
		C: f GETQUOTA
		S: f BAD ...
	`)
	*limits = maildir.Limits{}
	h.talk(`
		C: a GETQUOTAROOT INBOX
		S: * QUOTAROOT INBOX
		S: a OK ...
		C: b GETQUOTA "User quota"
		S: b NO [NONEXISTENT] ...
	`)
	*limits = maildir.Limits{Messages: 5}
	h.talk(`
		C: a GETQUOTA "User quota"
		S: * QUOTA "User quota" (MESSAGE 1 5)
		S: a OK ...
	`)
}

func TestOverQuota(t *testing.T) {
	limits := &maildir.Limits{Storage: 1000}
	h := newQuotaHarness(t, limits)
	h.deliver("INBOX", "Subject: a\n\n"+strings.Repeat("x", 600)+"\n")
	h.login("")
	h.talk(`
		C: a CREATE Trash
		S: ~a OK ...
		C: b APPEND INBOX {500+}
		C: ` + strings.Repeat("y", 500) + `
		S: b NO [OVERQUOTA] ...
		C: c UID COPY 1 Trash
		S: c NO [OVERQUOTA] ...
		C: d APPEND INBOX {5+}
		C: a: b
		S: * 2 EXISTS
		S: * 2 RECENT
		S: d OK ...
		C: e UID MOVE 1 Trash
		S: * OK [COPYUID ...
		S: * 1 EXPUNGE
		S: e OK ...
		C: f STATUS Trash (MESSAGES SIZE)
		S: * STATUS Trash (MESSAGES 1 SIZE 616)
		S: f OK ...
	`)
}

func TestDeletedStorage(t *testing.T) {
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("one"))
	h.deliver("INBOX", mail("three"))
	h.login("")
	h.talk(`
		C: a STORE 2 +FLAGS.SILENT (\Deleted)
		S: a OK ...
		C: b STATUS INBOX (DELETED DELETED-STORAGE)
		S: * STATUS INBOX (DELETED 1 DELETED-STORAGE 122)
		S: b OK ...
	`)
}

func TestMyRights(t *testing.T) {
	h := newHarness(t, nil)
	h.login("")
	h.talk(`
		C: a CREATE Work
		S: ~a OK ...
		C: b MYRIGHTS Work
		S: * MYRIGHTS Work lrswipkxte
		S: b OK ...
		C: c MYRIGHTS None
		S: c NO [NONEXISTENT] ...
		C: d LIST "" * RETURN (MYRIGHTS)
		S: * LIST (\HasNoChildren) "/" INBOX
		S: * MYRIGHTS INBOX lrswipkxte
		S: * LIST (\HasNoChildren) "/" Work
		S: * MYRIGHTS Work lrswipkxte
		S: d OK ...
	`)
}
