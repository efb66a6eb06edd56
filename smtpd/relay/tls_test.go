package relay

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/status"
)

func level(l Level) func(*Options) {
	return func(o *Options) {
		o.Policy = func(context.Context, string, Host) (Requirement, error) {
			return Requirement{Level: l, ID: "test"}, nil
		}
	}
}

func TestTLSAsFarAsItIsDemanded(t *testing.T) {
	ca := newAuthority(t)
	good, other := ca.server("mx1.a.example"), ca.server("elsewhere.example")
	foreign := newAuthority(t).server("mx1.a.example")
	old := ca.server("mx1.a.example")
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	broken := ca.server("mx1.a.example")
	broken.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("broken") }
	const (
		inTLS   = "in TLS"
		inClear = "in the clear"
		not     = "not"
	)
	cases := []struct {
		name                           string
		tls                            *tls.Config
		opportune, encrypted, verified string
	}{
		{"not offered", nil, inClear, not, not},
		{"good certificate", good, inTLS, inTLS, inTLS},
		{"certificate of another name", other, inTLS, inTLS, not},
		{"certificate of an unknown authority", foreign, inTLS, inTLS, not},
		{"handshake fails", broken, inClear, not, not},
		{"only TLS 1.1", old, inTLS, not, not},
	}
	for _, c := range cases {
		for l, want := range map[Level]string{Opportunistic: c.opportune, Encrypted: c.encrypted, Verified: c.verified} {
			t.Run(c.name+"/"+l.String(), func(t *testing.T) {
				s := newSink(t, "PIPELINING")
				s.tls = c.tls
				w := newWorld(t, map[string]*sink{"192.0.2.1": s}, level(l), func(o *Options) { o.RootCAs = ca.pool })
				out := w.send(t, "bob@a.example")[0]
				got := not
				if out.Err == nil {
					got = inClear
					if s.got()[0].secure {
						got = inTLS
					}
				}
				if got != want {
					t.Errorf("sent %s, want %s: %v", got, want, out.Err)
				}
				if got == not && (!status.IsTemporary(out.Err) || !out.Unreachable) {
					t.Errorf("a TLS failure may pass: %+v", out)
				}
			})
		}
	}
}

func TestSTARTTLSRefusedFallsBackOnlyWhenOpportunistic(t *testing.T) {
	for l, want := range map[Level]bool{Opportunistic: true, Encrypted: false} {
		s := newSink(t)
		s.tls = newAuthority(t).server("mx1.a.example")
		misbehave(s, "STARTTLS", func(c *sinkConn) { c.say("454 4.7.0 not now") })
		w := newWorld(t, map[string]*sink{"192.0.2.1": s}, level(l))
		if out := w.send(t, "bob@a.example")[0]; (out.Err == nil) != want {
			t.Errorf("%v: %+v", l, out)
		}
	}
}

func TestTextAheadOfTheHandshakeIsNotTaken(t *testing.T) {
	s := newSink(t)
	s.tls = newAuthority(t).server("mx1.a.example")
	misbehave(s, "STARTTLS", func(c *sinkConn) {
		c.conn.Write([]byte("220 go ahead\r\n250-injected\r\n250 AUTH PLAIN\r\n"))
		c.upgrade()
	})
	w := newWorld(t, map[string]*sink{"192.0.2.1": s}, level(Encrypted))
	out := w.send(t, "bob@a.example")[0]
	if !status.IsTemporary(out.Err) || len(s.got()) != 0 {
		t.Errorf("%+v", out)
	}
}

func TestPolicyChoosesHosts(t *testing.T) {
	one, two := newSink(t), newSink(t)
	two.tls = newAuthority(t).server("mx2.a.example")
	var verified string
	w := newWorld(t, map[string]*sink{"192.0.2.1": one, "192.0.2.2": two}, func(o *Options) {
		o.Policy = func(_ context.Context, domain string, h Host) (Requirement, error) {
			if domain != "a.example" {
				t.Errorf("asked about %q", domain)
			}
			if h.Name == "mx1.a.example" {
				return Requirement{}, errors.New("not listed in the policy")
			}
			return Requirement{Level: Verified, ID: "dane", Verify: func(cs tls.ConnectionState) error {
				verified = cs.PeerCertificates[0].DNSNames[0]
				return nil
			}}, nil
		}
	})
	if out := w.send(t, "bob@a.example")[0]; out.Err != nil || verified != "mx2.a.example" {
		t.Errorf("%+v, verified %q", out, verified)
	}
	if one.connections() != 0 || len(two.got()) != 1 {
		t.Error("the policy was not followed")
	}
}

func TestRequireTLS(t *testing.T) {
	ca := newAuthority(t)
	cases := []struct {
		name   string
		caps   []string
		tls    bool
		signed bool
		code   int
	}{
		{"all is there", []string{"REQUIRETLS"}, true, true, 250},
		{"host does not know it", nil, true, true, 550},
		{"nothing vouches for the MX", []string{"REQUIRETLS"}, true, false, 550},
		{"no TLS", []string{"REQUIRETLS"}, false, true, 451},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newSink(t, c.caps...)
			if c.tls {
				s.tls = ca.server("mx1.a.example", "mx2.a.example")
			}
			w := newWorld(t, map[string]*sink{"192.0.2.1": s, "192.0.2.2": s}, func(o *Options) { o.RootCAs = ca.pool })
			if c.signed {
				w.dns.Sign("a.example")
			}
			env := from("alice@example.org", "bob@a.example")
			env.RequireTLS = true
			out := w.sendEnv(t.Context(), env, mailText)[0]
			if out.Err == nil && c.code != 250 || out.Err != nil && status.From(out.Err).Code != c.code {
				t.Fatalf("%+v", out)
			}
			if out.Unreachable {
				t.Error("the wish of one message condemns the destination")
			}
			if c.code == 250 && !strings.Contains(s.got()[0].from, " REQUIRETLS") {
				t.Errorf("not handed on: %q", s.got()[0].from)
			}
		})
	}
}

func TestSmarthost(t *testing.T) {
	ca := newAuthority(t)
	plain := "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00user\x00secret"))
	b64 := base64.StdEncoding.EncodeToString
	cases := []struct {
		name   string
		caps   []string
		cert   string // name in the certificate; empty: no TLS
		smart  Smarthost
		auth   []string // lines
		code   int
		secure bool
	}{
		{"no login", nil, "", Smarthost{}, nil, 250, false},
		{"takes TLS", nil, "x.example", Smarthost{}, nil, 250, true},
		{"none means none", nil, "smart.example", Smarthost{TLS: TLSNone}, nil, 250, false},
		{"required", nil, "smart.example", Smarthost{TLS: TLSRequired}, nil, 250, true},
		{"required and absent", nil, "", Smarthost{TLS: TLSRequired}, nil, 451, false},
		{"required and forged", nil, "x.example", Smarthost{TLS: TLSRequired}, nil, 451, false},
		{"PLAIN", []string{"AUTH LOGIN PLAIN"}, "smart.example", Smarthost{User: "user", Password: "secret"}, []string{plain}, 250, true},
		{"LOGIN", []string{"AUTH login"}, "smart.example", Smarthost{User: "user", Password: "secret"}, []string{"AUTH LOGIN", b64([]byte("user")), b64([]byte("secret"))}, 250, true},
		{"no mechanism", []string{"AUTH CRAM-MD5"}, "smart.example", Smarthost{User: "user", Password: "secret"}, nil, 451, false},
		{"no password in the clear", []string{"AUTH PLAIN"}, "", Smarthost{User: "user", Password: "secret"}, nil, 451, false},
		{"no password to a stranger", []string{"AUTH PLAIN"}, "x.example", Smarthost{User: "user", Password: "secret"}, nil, 451, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newSink(t, c.caps...)
			if c.cert != "" {
				s.tls = ca.server(c.cert)
			}
			s.on = func(k *sinkConn, line string) bool {
				switch line {
				case "AUTH LOGIN", b64([]byte("user")):
					k.say("334 go on")
				case b64([]byte("secret")):
					k.say("235 welcome")
				default:
					return false
				}
				return true
			}
			w := newWorld(t, map[string]*sink{"192.0.2.1": s}, func(o *Options) {
				o.Smarthost, o.RootCAs = c.smart, ca.pool
				o.Smarthost.Addr = "smart.example:587"
				o.Policy = func(context.Context, string, Host) (Requirement, error) {
					t.Error("a policy of the destination was asked for")
					return Requirement{}, nil
				}
			})
			outs := w.send(t, "bob@a.example", "joe@nowhere.invalid")
			for _, out := range outs {
				if out.Err == nil && c.code != 250 || out.Err != nil && status.From(out.Err).Code != c.code {
					t.Fatalf("%+v", out)
				}
			}
			if c.code == 250 && (len(s.got()) != 1 || s.got()[0].secure != c.secure) {
				t.Errorf("got %+v", s.got())
			}
			auth := slices.Concat(s.heard("AUTH"), s.heard("dX"), s.heard("c2"))
			if !slices.Equal(auth, c.auth) {
				t.Errorf("login %q, want %q", auth, c.auth)
			}
		})
	}
}

func TestAWrongPasswordOfOursBouncesNothing(t *testing.T) {
	ca := newAuthority(t)
	for _, step := range []struct{ at, reply string }{
		{"AUTH", "535 5.7.8 bad credentials"}, {"MAIL", "530 5.7.0 authentication required"}, {"greeting", "554 5.7.1 go away"}, {"RCPT", "530 5.7.0 authentication required"},
	} {
		s := newSink(t, "AUTH PLAIN")
		s.tls = ca.server("smart.example")
		misbehave(s, step.at, func(c *sinkConn) { c.say("%s", step.reply) })
		w := newWorld(t, map[string]*sink{"192.0.2.1": s}, func(o *Options) {
			o.Smarthost, o.RootCAs = Smarthost{Addr: "smart.example:587", User: "user", Password: "secret"}, ca.pool
		})
		if out := w.send(t, "bob@a.example")[0]; !status.IsTemporary(out.Err) {
			t.Errorf("%s: %+v", step.at, out)
		}
	}
}

func TestPort465IsTLSFromTheFirstByte(t *testing.T) {
	ca := newAuthority(t)
	s := newSink(t, "AUTH PLAIN")
	s.tls, s.implicit = ca.server("smart.example"), true
	w := newWorld(t, map[string]*sink{"192.0.2.1": s}, func(o *Options) {
		o.Smarthost, o.RootCAs = Smarthost{Addr: "smart.example:465", User: "user", Password: "secret", TLS: TLSRequired}, ca.pool
	})
	if out := w.send(t, "bob@a.example")[0]; out.Err != nil || !s.got()[0].secure {
		t.Errorf("%+v", out)
	}
	if w.dialed[0] != "192.0.2.1:465" {
		t.Errorf("dialed %v", w.dialed)
	}
}

func TestVerifiedConnectionsAreNotSharedAcrossNames(t *testing.T) {
	ca := newAuthority(t)
	s := newSink(t)
	s.tls = ca.server("mx1.a.example")
	w := newWorld(t, map[string]*sink{"192.0.2.1": s}, level(Verified), func(o *Options) { o.RootCAs = ca.pool })
	if out := w.send(t, "bob@a.example")[0]; out.Err != nil {
		t.Fatal(out.Err)
	}
	if out := w.send(t, "bob@b.example")[0]; out.Err == nil {
		t.Error("b.example has the same address, but not the certificate")
	}
}

func TestCheckFindsEveryProblem(t *testing.T) {
	cases := []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"no host name", func(o *Options) { o.Hostname = "" }, "hostname"},
		{"no resolver", func(o *Options) { o.Resolver = nil }, "no resolver"},
		{"odd network", func(o *Options) { o.Network = "udp" }, "network"},
		{"smarthost without port", func(o *Options) { o.Smarthost.Addr = "smart.example" }, "smarthost"},
		{"smarthost with an odd port", func(o *Options) { o.Smarthost.Addr = "smart.example:x" }, "port"},
		{"password without user", func(o *Options) { o.Smarthost = Smarthost{Addr: "a:25", Password: "x"} }, "both"},
		{"user without smarthost", func(o *Options) { o.Smarthost = Smarthost{User: "x", Password: "x"} }, "no smarthost"},
		{"password in the clear", func(o *Options) { o.Smarthost = Smarthost{Addr: "a:25", User: "x", Password: "x", TLS: TLSNone} }, "clear"},
		{"odd tls", func(o *Options) { o.Smarthost = Smarthost{Addr: "a:25", TLS: "yes"} }, "tls"},
	}
	w := newWorld(t, nil)
	for _, c := range cases {
		o := Options{Hostname: "mail.example.org", Resolver: w.dns.Resolver()}
		if err := o.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.change(&o)
		if err := o.Check(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := New(o); err == nil {
			t.Errorf("%s: New takes it", c.name)
		}
	}
}

// TestMailThatTLSMustNotHoldUp goes past what the destination publishes (RFC
// 8460 section 5.3.1, RFC 8689 section 5), and not past what we demand.
func TestMailThatTLSMustNotHoldUp(t *testing.T) {
	ca := newAuthority(t)
	for _, c := range []struct {
		name          string
		published     Level
		ours          Level
		optional, req bool
		sent          bool
	}{
		{name: "published", published: Verified},
		{name: "published, and optional", published: Verified, optional: true, sent: true},
		{name: "ours, and optional", ours: Encrypted, optional: true},
		{name: "REQUIRETLS wins", optional: true, req: true},
	} {
		s := newSink(t) // no TLS
		say := func(l Level) Policy {
			return func(context.Context, string, Host) (Requirement, error) {
				return Requirement{Level: l, Published: Published{Type: STS}}, nil
			}
		}
		reported := 0
		w := newWorld(t, map[string]*sink{"192.0.2.1": s}, func(o *Options) {
			o.RootCAs, o.Published, o.Policy = ca.pool, say(c.published), demand(c.ours)
			o.Observe = func(TLSResult) { reported++ }
		})
		w.dns.Sign("a.example")
		env := from("alice@example.org", "bob@a.example")
		env.TLSOptional, env.RequireTLS = c.optional, c.req
		if out := w.sendEnv(t.Context(), env, mailText)[0]; (out.Err == nil) != c.sent {
			t.Errorf("%s: %+v", c.name, out)
		}
		if (reported > 0) == c.optional {
			t.Errorf("%s: %d reports", c.name, reported)
		}
	}
}

// demand is a Policy of ours.
func demand(l Level) Policy {
	return func(context.Context, string, Host) (Requirement, error) {
		return Requirement{Level: l, ID: "ours"}, nil
	}
}

func TestTheServerIsAskedForAName(t *testing.T) {
	ca := newAuthority(t)
	for name, want := range map[string]string{"": "mx1.a.example", "real.b.example": "real.b.example"} {
		asked := ""
		s := newSink(t)
		s.tls = ca.server("mx1.a.example")
		s.tls.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) { asked = h.ServerName; return nil, nil }
		w := newWorld(t, map[string]*sink{"192.0.2.1": s}, func(o *Options) {
			o.Policy = func(context.Context, string, Host) (Requirement, error) {
				return Requirement{Level: Encrypted, ServerName: name}, nil
			}
		})
		if out := w.send(t, "bob@a.example")[0]; out.Err != nil || asked != want {
			t.Errorf("asked for %q, want %q: %+v", asked, want, out)
		}
	}
}
