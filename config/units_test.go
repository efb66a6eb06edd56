package config

import (
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{
		"0B": 0, "512B": 512, "1KiB": 1024, "50MiB": 50 << 20, "50 mib": 50 << 20, "1.5GiB": 3 << 29, "2TiB": 2 << 40,
		"1KB": 1000, "25MB": 25e6, "1GB": 1e9, " 7kb ": 7000,
	} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "50", "MiB", "-1MiB", "1e3KB", "1.2.3MB", "50 M", "50MiBs", "NaNKB", "999999999999TiB", "0x1B"} {
		if got, err := ParseSize(s); err == nil {
			t.Errorf("ParseSize(%q) = %d", s, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "5d": 120 * time.Hour, "2w": 336 * time.Hour, "1d 12h": 36 * time.Hour,
		"1.5h": 90 * time.Minute, "250ms": 250 * time.Millisecond, " 1m ": time.Minute,
	} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "5", "d", "-5d", "5 days", "5D", "1h30", "1..5h", "99999999w", "5µs"} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("ParseDuration(%q) = %v", s, got)
		}
	}
}

func TestParseRate(t *testing.T) {
	for s, want := range map[string]Rate{
		"": {}, "100/minute": {100, time.Minute}, "1/second": {1, time.Second}, "20 / hour": {20, time.Hour}, "5000/day": {5000, 24 * time.Hour}, "5/10m": {5, 10 * time.Minute},
	} {
		if got, err := ParseRate(s); err != nil || got != want {
			t.Errorf("ParseRate(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"100", "/minute", "0/minute", "-1/minute", "1/minutes", "1/0", "1/10", "1/500ms", "1/8d", "1/", "1.5/minute", "9999999/day", "1/minute/2"} {
		if got, err := ParseRate(s); err == nil {
			t.Errorf("ParseRate(%q) = %v", s, got)
		}
	}
}

func TestFormattedUnitsReadBack(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1: "1B", 1000: "1000B", 1024: "1KiB", 50 << 20: "50MiB", 3 << 29: "1536MiB", 1 << 40: "1TiB"} {
		if got := FormatSize(n); got != want {
			t.Errorf("FormatSize(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", 90 * time.Second: "1m30s", 120 * time.Hour: "5d", 36*time.Hour + 5*time.Millisecond: "1d12h5ms"} {
		if got := FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%d) = %q, want %q", d, got, want)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"50MiB", "1.5 GB", "0B", "9e9B", ".B"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseSize(s)
		if err != nil {
			return
		}
		if n < 0 {
			t.Errorf("%q is negative: %d", s, n)
		}
		if m, err := ParseSize(FormatSize(n)); err != nil || m != n && n < 1<<53 {
			t.Errorf("%q: %d, then %d, %v", s, n, m, err)
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"5d", "1h30m", "0", "1.5ms", "..s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if d < 0 {
			t.Errorf("%q is negative: %v", s, d)
		}
		ms := d.Truncate(time.Millisecond)
		if e, err := ParseDuration(FormatDuration(d)); err != nil || e != ms && d < 1<<52 {
			t.Errorf("%q: %v, then %v, %v", s, d, e, err)
		}
	})
}

func TestNearest(t *testing.T) {
	known := []string{"hostname", "listen.mx", "tls.certificate", "tls.key", "queue.max_age"}
	for name, want := range map[string]string{
		"hostnmae": "hostname", "hostnam": "hostname", "listen.mxx": "listen.mx", "listen.xm": "listen.mx",
		"certificate": "tls.certificate", "max_age": "queue.max_age", "tls.max_age": "queue.max_age", "completely_else": "",
	} {
		if got := nearest(name, known); got != want {
			t.Errorf("nearest(%q) = %q, want %q", name, got, want)
		}
	}
}
