package index

import "strings"

// keptFields are the header fields that rows keep: those that the clients we
// know ask for when they list messages (Thunderbird, Apple Mail, Outlook, K-9,
// FairEmail, Roundcube, SOGo, mutt, Evolution, KMail, mbsync, OfflineIMAP), and
// what SEARCH, SORT and THREAD read.
var keptFields = func() map[string]bool {
	kept := map[string]bool{}
	for name := range strings.FieldsSeq(`
		bcc cc date from in-reply-to message-id references reply-to sender subject to
		content-type content-description content-disposition content-class content-transfer-encoding mime-version
		list-id list-post list-unsubscribe list-unsubscribe-post list-subscribe list-help list-archive
		importance priority x-priority x-msmail-priority x-mailer user-agent
		disposition-notification-to return-receipt-to newsgroups followup-to mail-followup-to mail-reply-to
		auto-submitted precedence delivered-to x-original-to envelope-to return-path
		resent-date resent-from resent-message-id resent-to lines keywords
		x-label x-tuid x-uniform-type-identifier x-universally-unique-identifier
		x-spam-flag x-spam-status x-spam-level x-spam x-mailing-list x-mozilla-draft-info
		autocrypt-draft-state x-draft-info`) {
		kept[name] = true
	}
	return kept
}()

// Keeps reports whether rows have the header field name, in any letter case.
func Keeps(name string) bool {
	var lower [maxKeptName]byte
	n := copy(lower[:], name)
	return n == len(name) && keeps(lower[:n])
}

// maxKeptName is how long the longest of keptFields may be, and one byte more.
const maxKeptName = 48

// keeps is Keeps of a name that it may change.
func keeps(name []byte) bool {
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			name[i] = c + 'a' - 'A'
		}
	}
	return keptFields[string(name)]
}
