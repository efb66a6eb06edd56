package imapd

import (
	"fmt"
	"slices"
	"strings"
)

// phase is when a capability is advertised.
type phase uint8

const (
	beforeLogin phase = 1 << iota
	afterLogin
	always = beforeLogin | afterLogin
)

// extension is a capability this server has.
type extension struct {
	name  string
	phase phase
}

// extensions are all of them, in the order in which they are advertised.
// STARTTLS, LOGINDISABLED and AUTH= depend on the connection and are added to
// these; APPENDLIMIT gets its value.
var extensions = []extension{
	{"IMAP4rev1", always},
	{"IMAP4rev2", always},
	{"SASL-IR", beforeLogin},
	{"LITERAL+", always},
	{"ID", always},
	{"ENABLE", always},
	{"IDLE", always},
	{"NAMESPACE", afterLogin},
	{"UIDPLUS", afterLogin},
	{"UNSELECT", afterLogin},
	{"CHILDREN", afterLogin},
	{"MOVE", afterLogin},
	{"ESEARCH", afterLogin},
	{"SEARCHRES", afterLogin},
	{"WITHIN", afterLogin},
	{"SORT", afterLogin},
	{"SORT=DISPLAY", afterLogin},
	{"ESORT", afterLogin},
	{"CONTEXT=SEARCH", afterLogin},
	{"CONTEXT=SORT", afterLogin},
	{"THREAD=ORDEREDSUBJECT", afterLogin},
	{"THREAD=REFERENCES", afterLogin},
	{"THREAD=REFS", afterLogin},
	{"CONDSTORE", afterLogin},
	{"QRESYNC", afterLogin},
	{"OBJECTID", afterLogin},
	{"PREVIEW", afterLogin},
	{"SAVEDATE", afterLogin},
	{"PARTIAL", afterLogin},
	{"LIST-EXTENDED", afterLogin},
	{"LIST-STATUS", afterLogin},
	{"LIST-MYRIGHTS", afterLogin},
	{"LIST-METADATA", afterLogin},
	{"METADATA", afterLogin},
	{"SPECIAL-USE", afterLogin},
	{"CREATE-SPECIAL-USE", afterLogin},
	{"STATUS=SIZE", afterLogin},
	{"APPENDLIMIT", afterLogin},
	{"QUOTA", afterLogin},
	{"QUOTA=RES-STORAGE", afterLogin},
	{"QUOTA=RES-MESSAGE", afterLogin},
	{"MULTIAPPEND", afterLogin},
	{"CATENATE", afterLogin},
	{"REPLACE", afterLogin},
	{"BINARY", afterLogin},
	{"UTF8=ACCEPT", afterLogin},
	{"UNAUTHENTICATE", afterLogin},
	{"COMPRESS=DEFLATE", afterLogin},
	{"NOTIFY", afterLogin},
	{"INPROGRESS", afterLogin},
	{"UIDONLY", afterLogin},
}

// mechanisms are the SASL mechanisms, under TLS.
var mechanisms = []string{"PLAIN", "LOGIN"}

// canBeDisabled reports whether Options.DisableCapabilities may have name.
func canBeDisabled(name string) bool {
	if strings.EqualFold(name, "IMAP4rev1") {
		return false
	}
	if mech, ok := strings.CutPrefix(strings.ToUpper(name), "AUTH="); ok {
		return slices.Contains(mechanisms, mech)
	}
	return slices.ContainsFunc(extensions, func(e extension) bool { return strings.EqualFold(e.name, name) })
}

// profile is what is offered to a user, or to everybody before login.
type profile struct {
	caps     *capabilities
	commands map[string]*command
}

// newProfile is the profile with what is disabled for all, and these.
func (srv *Server) newProfile(disabled []string) *profile {
	o := srv.options
	o.DisableCapabilities = slices.Concat(o.DisableCapabilities, disabled)
	caps := newCapabilities(o, srv.limits)
	return &profile{caps, commandTable(caps, srv.metrics)}
}

// profileOf is the profile of a user who has logged in.
func (srv *Server) profileOf(user string) *profile {
	if p := srv.users[user]; p != nil {
		return p
	}
	return srv.profile
}

// capabilities are what a Server offers. They are immutable.
type capabilities struct {
	disabled    map[string]bool // in upper case
	appendLimit int64
	startTLS    bool
	insecure    bool

	// The lists as they are sent.
	plain, tls, user string
}

func newCapabilities(o Options, l Limits) *capabilities {
	caps := &capabilities{
		disabled:    make(map[string]bool),
		appendLimit: l.AppendSize,
		startTLS:    o.TLS != nil,
		insecure:    o.InsecureAuth,
	}
	for _, name := range o.DisableCapabilities {
		caps.disabled[strings.ToUpper(name)] = true
	}
	for base, parts := range map[string][]string{
		"QUOTA": {"QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE"}, "METADATA": {"LIST-METADATA"}, "CONTEXT=SEARCH": {"CONTEXT=SORT"},
	} {
		for _, part := range parts {
			caps.disabled[part] = caps.disabled[part] || caps.disabled[base]
		}
	}
	caps.plain = caps.list(beforeLogin, false)
	caps.tls = caps.list(beforeLogin, true)
	caps.user = caps.list(afterLogin, true)
	return caps
}

// on reports whether the capability is served; a name that is none is.
func (caps *capabilities) on(name string) bool { return !caps.disabled[strings.ToUpper(name)] }

// mechanism reports whether clients may use the SASL mechanism.
func (caps *capabilities) mechanism(name string) bool {
	return slices.Contains(mechanisms, name) && caps.on("AUTH="+name)
}

func (caps *capabilities) list(p phase, secure bool) string {
	var names []string
	for _, e := range extensions {
		if e.phase&p == 0 || !caps.on(e.name) {
			continue
		}
		if e.name == "APPENDLIMIT" {
			e.name = fmt.Sprintf("APPENDLIMIT=%d", caps.appendLimit)
		}
		names = append(names, e.name)
	}
	if p == beforeLogin {
		names = append(names, caps.login(secure)...)
	}
	return strings.Join(names, " ")
}

// login lists how one may log in: not at all in the clear (RFC 9051 section
// 11.1), where LOGINDISABLED also keeps clients from trying.
func (caps *capabilities) login(secure bool) (names []string) {
	if !secure && caps.startTLS {
		names = append(names, "STARTTLS")
	}
	if !secure && !caps.insecure {
		return append(names, "LOGINDISABLED")
	}
	for _, mech := range mechanisms {
		if caps.mechanism(mech) {
			names = append(names, "AUTH="+mech)
		}
	}
	return names
}

// capabilityList is the list that holds for the session now.
func (s *session) capabilityList() string {
	switch {
	case s.state != notAuthenticated:
		return s.caps.user
	case s.secure:
		return s.caps.tls
	}
	return s.caps.plain
}

// capability runs CAPABILITY (RFC 9051 section 6.1.1).
func (s *session) capability(*call) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	s.enc.Raw("* CAPABILITY ").Raw(s.capabilityList()).CRLF()
	return nil
}
