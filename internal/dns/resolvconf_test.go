package dns

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseResolvConf(t *testing.T) {
	def := []string{"127.0.0.1:53"}
	cases := []struct {
		name, text string
		want       resolvConf
	}{
		{"empty means this host", "", resolvConf{def, 5 * time.Second, 2, false}},
		{"servers and comments", "# made by dhcp\nnameserver 192.0.2.53 ; first\nsearch example.org\nnameserver 2001:db8::53\n",
			resolvConf{[]string{"192.0.2.53:53", "[2001:db8::53]:53"}, 5 * time.Second, 2, false}},
		{"scoped addresses", "nameserver fe80::1%eth0\n", resolvConf{[]string{"[fe80::1%eth0]:53"}, 5 * time.Second, 2, false}},
		{"options", "options timeout:1 attempts:3 rotate edns0\n", resolvConf{def, time.Second, 3, true}},
		{"options are bounded", "options timeout:9999 attempts:9999\n", resolvConf{def, 30 * time.Second, 5, false}},
		{"nonsense is left out", "nameserver here\noptions timeout:x attempts:0 timeout:-1\nnameserver\n", resolvConf{def, 5 * time.Second, 2, false}},
		{"three servers at most", "nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4\n",
			resolvConf{[]string{"1.1.1.1:53", "1.1.1.2:53", "1.1.1.3:53"}, 5 * time.Second, 2, false}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := parseResolvConf(strings.NewReader(c.text)); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestSystemConfFollowsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	s := &systemConf{path: path}
	expect := func(want string) {
		t.Helper()
		s.checked = time.Time{} // as if recheck had passed
		if got := s.current().servers; len(got) != 1 || got[0] != want {
			t.Errorf("servers %v, want %s", got, want)
		}
	}
	expect("127.0.0.1:53") // no file yet
	os.WriteFile(path, []byte("nameserver 192.0.2.1\n"), 0o644)
	expect("192.0.2.1:53")
	os.WriteFile(path, []byte("nameserver 192.0.2.2\n"), 0o644)
	os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour))
	expect("192.0.2.2:53")
	os.Remove(path)
	expect("192.0.2.2:53") // what worked is kept
}

func FuzzParseResolvConf(f *testing.F) {
	f.Add("nameserver 192.0.2.53\noptions timeout:1 attempts:3 rotate\n")
	f.Add("nameserver fe80::1%eth0 # x\n;\n\x00")
	f.Fuzz(func(t *testing.T, text string) {
		c := parseResolvConf(strings.NewReader(text))
		if len(c.servers) == 0 || len(c.servers) > maxServers || c.attempts < 1 || c.attempts > maxAttempts || c.timeout <= 0 {
			t.Errorf("unusable: %+v", c)
		}
	})
}
