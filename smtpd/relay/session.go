package relay

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// session is a connection to one host, past its greeting. One goroutine uses it
// at a time.
type session struct {
	r      *Relay
	ctx    context.Context // of the attempt that uses it now
	key    poolKey
	conn   net.Conn
	br     *bufio.Reader
	bw     *bufio.Writer
	remote string // for logs and reports
	host   string // its name
	smart  bool   // it is the smarthost

	offers map[string]string // EHLO keywords in upper case, with parameters
	secure bool              // TLS is on
	tls    message.TLS       // what it is
	flaw   error             // what a check that is only for a report found
	begun  bool              // a transaction is open at the host
	uses   int               // messages
}

// connect takes a connection from the pool or opens one that meets q.
func (r *Relay) connect(ctx context.Context, c candidate, q Requirement) (s *session, reused bool, fail *failure) {
	key := keyOf(c, q)
	if s := r.pool.get(key); s != nil {
		r.sessions.WithLabelValues("reused").Inc()
		return s, true, nil
	}
	s, fail = r.open(ctx, c, q)
	if fail != nil && fail.tls != "" && q.Level == Opportunistic && !q.plain {
		// TLS that does not work is as good as none, where none is demanded
		// (RFC 7435). The connection is spent; open another one.
		plain := q
		plain.plain = true
		s, fail = r.open(ctx, c, plain)
	}
	if ctx.Err() == nil {
		r.lame.note(c.dialAddr(), fail == nil || fail.tls != "")
	}
	if fail != nil {
		return nil, false, fail
	}
	s.key = key
	r.sessions.WithLabelValues("opened").Inc()
	return s, false, nil
}

// open dials, greets, starts TLS and logs in.
func (r *Relay) open(ctx context.Context, c candidate, q Requirement) (*session, *failure) {
	dialCtx, cancel := context.WithTimeout(ctx, r.o.Timeouts.Connect)
	defer cancel()
	conn, err := r.o.Dial(dialCtx, r.o.Network, c.dialAddr())
	if err != nil {
		return nil, unreached(c.remote(), err)
	}
	s := &session{r: r, remote: c.remote(), host: c.Name, smart: c.smart}
	s.use(conn)
	defer s.during(ctx)()
	fail := s.start(ctx, c, q)
	r.observeSession(c, q, s, fail)
	if fail != nil {
		s.close()
		return nil, fail
	}
	r.o.Logger.Debug("connected to a host", "remote", s.remote, "tls", s.secure, "required", q.Level.String())
	return s, nil
}

// use makes conn the connection.
func (s *session) use(conn net.Conn) {
	s.conn, s.br, s.bw = conn, bufio.NewReader(conn), bufio.NewWriterSize(conn, block)
}

// during lets the end of ctx cut the waits of this session short, until the
// function it returns is called.
func (s *session) during(ctx context.Context) func() {
	s.ctx = ctx
	conn := s.conn
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(past) })
	return func() { stop() }
}

// past is a deadline that has gone by.
var past = time.Unix(1, 0)

// start brings a new connection to where MAIL may be said.
func (s *session) start(ctx context.Context, c candidate, q Requirement) *failure {
	if c.smart && c.port == implicitTLS && !q.plain {
		if fail := s.handshake(ctx, q); fail != nil {
			return fail
		}
	}
	if fail := s.greeting(); fail != nil {
		return fail
	}
	if fail := s.hello(); fail != nil {
		return fail
	}
	if _, offered := s.offers["STARTTLS"]; offered && !s.secure && !q.plain {
		if fail := s.startTLS(ctx, q); fail != nil {
			return fail
		}
	}
	if !s.secure && q.Level > Opportunistic {
		fail := ours(s.remote, 451, 7, 10, "%s offers no TLS, and %s TLS is needed", s.remote, q.Level)
		fail.tls = NoSTARTTLS
		return fail
	}
	if c.smart && c.via.User != "" {
		return s.login(c.via.User, c.via.Password)
	}
	return nil
}

// greeting reads the first reply.
func (s *session) greeting() *failure {
	s.deadline(s.r.o.Timeouts.Greeting)
	g, err := readReply(s.br)
	if err != nil {
		return lost(s.remote, "greeting", err)
	}
	if g.code != 220 {
		return s.unwilling("greeting", g)
	}
	return nil
}

// unwilling is a host that does not serve us. Another one may; if none does and
// all say so for good, that is the answer (RFC 5321 section 3.1), except from a
// smarthost, which ought to serve us.
func (s *session) unwilling(stage string, r reply) *failure {
	f := refused(s.remote, stage, r)
	f.broken = true
	if s.smart {
		return passing(f)
	}
	return f
}

// hello says EHLO, and HELO to a host that knows no other.
func (s *session) hello() *failure {
	s.offers = map[string]string{}
	r, fail := s.command("EHLO", "EHLO %s", s.r.name)
	if fail != nil {
		return fail
	}
	if !r.ok() && r.code/100 == 5 {
		if r, fail = s.command("HELO", "HELO %s", s.r.name); fail != nil {
			return fail
		}
		if !r.ok() {
			return s.unwilling("HELO", r)
		}
		return nil
	}
	if !r.ok() {
		return s.unwilling("EHLO", r)
	}
	for _, line := range r.lines[1:] {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		s.offers[strings.ToUpper(word)] = rest
	}
	return nil
}

// startTLS asks for TLS. What a host, or somebody in between, sends in the clear
// after the go-ahead would be taken for part of the secured session: it ends
// the attempt.
func (s *session) startTLS(ctx context.Context, q Requirement) *failure {
	r, fail := s.command("STARTTLS", "STARTTLS")
	if fail != nil { // something in between may not like the word
		fail.tls = NoSTARTTLS
		return fail
	}
	if r.code != 220 {
		fail := passing(refused(s.remote, "STARTTLS", r))
		fail.tls, fail.broken = NoSTARTTLS, true
		return fail
	}
	if s.br.Buffered() > 0 {
		fail := lost(s.remote, "STARTTLS", fmt.Errorf("%w: text ahead of the handshake", errBadReply))
		fail.tls = InvalidTLS
		return fail
	}
	if fail := s.handshake(ctx, q); fail != nil {
		return fail
	}
	return s.hello()
}

// handshake puts TLS on the connection and checks what q demands.
func (s *session) handshake(ctx context.Context, q Requirement) *failure {
	ctx, cancel := context.WithTimeout(ctx, s.r.o.Timeouts.TLS)
	defer cancel()
	cfg := &tls.Config{
		ServerName: cmp.Or(q.ServerName, s.host), MinVersion: tls.VersionTLS12,
		// The check is q.verify's: opportunistic TLS wants none, and MTA-STS
		// and DANE have rules of their own.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			err := q.verify(cs, s.host, s.r.o.RootCAs)
			if q.Level == Verified {
				return err
			}
			s.flaw = err
			return nil
		},
	}
	if net.ParseIP(s.host) != nil {
		cfg.ServerName = ""
	}
	if q.Level == Opportunistic {
		cfg.MinVersion = tls.VersionTLS10 // old TLS is better than none
	}
	s.conn.SetDeadline(time.Time{})
	conn := tls.Client(s.conn, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		return &failure{
			err:    status.Wrap(err, 451, 7, 5, fmt.Sprintf("%s: TLS does not work: %s", s.remote, tlsReason(err))),
			remote: s.remote, broken: true, tls: FailureOf(err),
		}
	}
	s.use(conn)
	s.secure = true
	cs := conn.ConnectionState()
	s.tls = message.TLS{Version: tls.VersionName(cs.Version), Cipher: tls.CipherSuiteName(cs.CipherSuite), Verified: q.verified(s.flaw)}
	return nil
}

// tlsReason is an error's text, short enough for a report.
func tlsReason(err error) string {
	text := strings.Map(printable, err.Error())
	return strings.ToValidUTF8(text[:min(len(text), 200)], "")
}

// login authenticates by PLAIN, or by LOGIN where that is all there is.
func (s *session) login(user, password string) *failure {
	mechs := " " + strings.ToUpper(s.offers["AUTH"]) + " "
	var r reply
	var fail *failure
	switch {
	case strings.Contains(mechs, " PLAIN "):
		text := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
		r, fail = s.command("AUTH", "AUTH PLAIN %s", text)
	case strings.Contains(mechs, " LOGIN "):
		r, fail = s.command("AUTH", "AUTH LOGIN")
		for _, word := range []string{user, password} {
			if fail == nil && r.code == 334 {
				r, fail = s.command("AUTH", "%s", base64.StdEncoding.EncodeToString([]byte(word)))
			}
		}
	default:
		return ours(s.remote, 451, 7, 0, "The smarthost offers no login by PLAIN or LOGIN")
	}
	if fail == nil && !r.ok() {
		// Our own setting is wrong: the mail waits until it is mended.
		fail = passing(refused(s.remote, "AUTH", r))
	}
	return fail
}

// command sends one line and reads the reply.
func (s *session) command(stage, format string, args ...any) (reply, *failure) {
	fmt.Fprintf(s.bw, format+"\r\n", args...)
	if fail := s.flush(stage); fail != nil {
		return reply{}, fail
	}
	return s.read(stage, s.r.o.Timeouts.Command)
}

func (s *session) flush(stage string) *failure {
	s.deadline(s.r.o.Timeouts.Command)
	if err := s.bw.Flush(); err != nil {
		return lost(s.remote, stage, err)
	}
	return nil
}

// read reads one reply.
func (s *session) read(stage string, limit time.Duration) (reply, *failure) {
	s.deadline(limit)
	r, err := readReply(s.br)
	if err != nil {
		return reply{}, lost(s.remote, stage, err)
	}
	return r, nil
}

// deadline bounds the next wait. It looks at ctx after it has set the time, so
// that it cannot undo the end of ctx.
func (s *session) deadline(d time.Duration) {
	s.conn.SetDeadline(time.Now().Add(d))
	if s.ctx.Err() != nil {
		s.conn.SetDeadline(past)
	}
}

// offersSize is the limit of SIZE (RFC 1870), 0 if there is none.
func (s *session) offersSize() int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s.offers["SIZE"]), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// maxRecipients is the RCPTMAX of LIMITS (RFC 9422), or no limit.
func (s *session) maxRecipients() int {
	for word := range strings.FieldsSeq(s.offers["LIMITS"]) {
		name, value, _ := strings.Cut(word, "=")
		if n, err := strconv.Atoi(value); err == nil && n > 0 && strings.EqualFold(name, "RCPTMAX") {
			return n
		}
	}
	return math.MaxInt
}

func (s *session) offersTo(keyword string) bool {
	_, ok := s.offers[keyword]
	return ok
}

func (s *session) close() { s.conn.Close() }

// quit says goodbye without waiting long for the answer.
func (s *session) quit() {
	s.conn.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := s.bw.WriteString("QUIT\r\n"); err == nil && s.bw.Flush() == nil {
		_, _ = readReply(s.br)
	}
	s.close()
}
